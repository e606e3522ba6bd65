"""Shared by the recipes of convolutional networks: layouts written block by block, and their checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from torch import nn

from elastic.errors import LayoutError
from elastic.layout.binding import direct_tensors
from elastic.layout.notation import fill
from elastic.layout.recipe import Recipe
from elastic.recipes.resolution import resolution_rule
from elastic.space.sizes import Derived, DimRule, make_divisible
from elastic.upstream import library_of
from elastic.upstream.library import Size3
from elastic.upstream.timm import class_name

Table = Mapping[str, str]
"""A block's layout: entries relative to the block, with placeholders (`{in}`, `{out}`, `{mid}` …) for its sizes."""


@dataclass
class Draft:
    """A recipe while it is being written."""

    model: nn.Module
    family: str
    layout: dict[str, str] = field(default_factory=dict)
    derived: dict[str, Derived] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, table: Table, names: Mapping[str, str], prefix: str = "") -> None:
        """Add a table's entries below `prefix`, with `names` in place of its placeholders."""
        for path, text in table.items():
            key = ".".join(filter(None, (prefix, path)))
            self.layout[key] = fill(text, names, key)

    def squeeze(self, name: str, layer: nn.Conv2d, of: str) -> str:
        """Derive the reduced width of a squeeze-and-excitation, in proportion to the size `of` that it squeezes.

        `layer` is the reducing convolution. The width is exact at full size. It is a multiple of 8 if the original is,
        and a quarter of `of`, so rounded, if that gives the original.
        """
        reduced, full = layer.out_channels, layer.in_channels
        divisor = 8 if reduced % 8 == 0 else 1
        if divisor > 1 and make_divisible(full / 4, divisor) == reduced:
            reduced, full = 1, 4  # 64 of 240 is MobileNetV3's rounded quarter, not its 4/15
        self.derived[name] = Derived(_factors(of), _ratio(of, reduced, full), divisor)
        return name

    def recipe(
        self,
        dims: Mapping[str, DimRule],
        input_size: Size3 | None,
        resolutions: Sequence[int] | None,
    ) -> Recipe:
        """The finished recipe, after checking that the layout describes every tensor of the model.

        Raises:
            LayoutError: a layer that no entry describes, a norm that mixes channels in fixed groups, or an
                input that isn't square.
        """
        self._check()
        channels, side, width = input_size or library_of(self.model).image_size
        if side != width:
            raise LayoutError(f"the {self.family} recipe needs a square input, this model takes {side} × {width}")
        stride = 32 if side >= 128 else 4
        return Recipe(
            layout=self.layout,
            dims={**dims, "resolution": resolution_rule(side, stride, resolutions)},
            derived=self.derived,
            resolution=side,
            input_size=(channels, side, side),
            notes=self.notes,
        )

    def _check(self) -> None:
        known = {key.removesuffix("?") for key in self.layout}
        for path, module in self.model.named_modules():
            own = direct_tensors(module)
            groups = getattr(module, "num_groups", None) or getattr(module, "groups", 1)
            if own and not isinstance(module, nn.Conv2d) and isinstance(groups, int) and groups > 1:
                raise LayoutError(
                    f"the {self.family} recipe can't narrow the {type(module).__name__} at {path!r}: it normalises "
                    f"{groups} fixed groups of channels; use a model with BatchNorm"
                )
            if path not in known and any(f"{path}.{name}" not in known for name in own):
                part = next((above for above in _above(path) if above in known - _containers(known)), path)
                kind = type(self.model.get_submodule(part)).__name__
                raise LayoutError(
                    f"the {self.family} recipe doesn't know the {kind} at {part!r}; "
                    "pass a Recipe whose layout describes it"
                )


def _containers(known: set[str]) -> set[str]:
    return {above for key in known for above in _above(key)}


def _above(path: str) -> Iterator[str]:
    while "." in path:
        path = path.rpartition(".")[0]
        yield path


def table_of(block: nn.Module, tables: Mapping[str, Table], family: str, path: str) -> Table:
    """The table for a block's class (see `elastic.upstream.timm.class_name`).

    Raises:
        LayoutError: a class that has none.
    """
    table = tables.get(class_name(block))
    if table is None:
        known = ", ".join(sorted(name.partition(":")[2] for name in tables))
        kind = type(block).__qualname__
        raise LayoutError(f"the {family} recipe is for blocks of type {known}; {path!r} is a {kind}")
    return table


def grouped(conv: nn.Conv2d, place: str) -> dict[str, str]:
    """The sizes of the convolution in the middle of a block: `mid` channels out, `inner` in, `fan` per group.

    Plain and depthwise convolutions have an elastic width `mid.{place}`. Convolutions with groups (ResNeXt, RegNet)
    have groups of fixed width and an elastic number of them, `groups.{place}`.
    """
    if conv.groups == 1:
        inner = f"mid.{place}" if conv.in_channels == conv.out_channels else f"inner.{place}"
        return {"mid": f"mid.{place}", "inner": inner, "fan": inner}
    if conv.groups == conv.in_channels == conv.out_channels:
        return {"mid": f"mid.{place}", "inner": f"mid.{place}", "fan": "1"}
    fan = conv.in_channels // conv.groups
    groups = f"groups.{place}"
    return {"mid": f"({groups} {conv.out_channels // conv.groups})", "inner": f"({groups} {fan})", "fan": str(fan)}


def straight(module: nn.Module, before: str = "{in}") -> Table:
    """Entries for the convolutions, norms and blurs inside `module`, which follow each other at the width `{out}`."""
    table = {}
    for path, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            table[path] = f"{{out}} {before} ..."
            before = "{out}"
        elif hasattr(part, "running_mean"):
            table[path] = "{out}"
        elif hasattr(part, "filt"):
            table[path] = "{out} ..."
            table[f"{path}.channels".lstrip(".")] = "{out}"
    return table


def pooled(features: int, width: int, name: str) -> str:
    """The axis of the `features` after a global pooling of `width` channels; some poolings return each twice."""
    return name if features == width else f"({features // width} {name})"


def _factors(axis: str) -> tuple[str, ...]:
    """The named sizes of an axis such as `mid.1.0` or `(groups.1.0 4)`."""
    return tuple(word for word in axis.strip("()").split() if not word.isdecimal())


def _ratio(axis: str, reduced: int, full: int) -> Fraction:
    ratio = Fraction(reduced, full)
    for word in axis.strip("()").split():
        if word.isdecimal():
            ratio *= int(word)
    return ratio
