"""Inspection: what in a supernet is elastic, what is not and why, and what its subnets cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from elastic.errors import CostError
from elastic.layers.modules import upstream_class
from elastic.layers.rules import TensorRule
from elastic.space.arch import Arch
from elastic.space.sizes import Lookup, Number
from elastic.supernet.supernet import Supernet
from elastic.support.text import short, spell_bytes, spell_count


@dataclass(frozen=True)
class ElasticKind:
    """Dims of one kind (`heads.0` … `heads.11`) that offer the same choices, or sizes that follow one kind of dim.

    Attributes:
        kind: the first part of their names.
        names: the dims, or the sizes that follow.
        choices: on offer, ascending.
        follows: the kind of dim whose choice they follow; empty where they are dims themselves.
    """

    kind: str
    names: tuple[str, ...]
    choices: tuple[Number, ...]
    follows: str = ""


@dataclass(frozen=True)
class FixedTensors:
    """Parameters of one place in the model that no size reaches.

    Attributes:
        path: their name; numbers that vary are written `*`.
        count: how many tensors.
        params: how many parameters in them.
    """

    path: str
    count: int
    params: int


@dataclass(frozen=True)
class Costs:
    """What one subnet costs on one input; None for what no formula was found for, as may be in a traced model."""

    params: int
    macs: int | None
    memory_bytes: int | None


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found.

    Attributes:
        model: the model's class.
        elastic: what is elastic.
        notes: what the recipe leaves as it is → why.
        fixed: parameters without any elastic axis.
        smallest: costs of the smallest subnet.
        largest: costs of the largest one, which is the original model.
        subnets: the exact number of distinct networks.
        resolutions: on offer, in pixels.
        width_scaling: whether weights are scaled for the inputs that a narrow subnet lacks.
    """

    model: str
    elastic: tuple[ElasticKind, ...]
    notes: dict[str, str]
    fixed: tuple[FixedTensors, ...]
    smallest: Costs
    largest: Costs
    subnets: int
    resolutions: tuple[Number, ...]
    width_scaling: bool = False


def inspect(supernet: Supernet) -> Inspection:
    """Say what in `supernet` is elastic and what isn't; nothing is activated."""
    space = supernet.space
    corners = [space.smallest, space.largest]
    counted = [supernet.params(corners), *(_counted(cost, corners) for cost in (supernet.macs, supernet.memory))]
    smallest, largest = (
        Costs(int(params), macs if macs is None else int(macs), memory if memory is None else int(memory))
        for params, macs, memory in zip(*counted, strict=True)
    )
    resolution = [dim.choices for dim in space.dims if dim.name == "resolution"]
    return Inspection(
        model=upstream_class(supernet.model).__name__,
        elastic=tuple(_kinds(supernet)),
        notes=dict(supernet.recipe.notes),
        fixed=tuple(_fixed(supernet)),
        smallest=smallest,
        largest=largest,
        subnets=space.size,
        resolutions=resolution[0] if resolution else (),
        width_scaling=supernet.recipe.width_scaling,
    )


def _counted(cost: Callable[[Sequence[Arch]], Iterable[Any]], archs: Sequence[Arch]) -> Iterable[Any]:
    try:
        return cost(archs)
    except CostError:
        return [None] * len(archs)


def _kinds(supernet: Supernet) -> Iterable[ElasticKind]:
    groups: dict[tuple[str, tuple[Number, ...], str], list[str]] = {}
    for dim in supernet.layout.uncoupled:
        table = supernet.layout.derived.get(dim.name)
        choices, leader = (table.values, table.part) if isinstance(table, Lookup) else (dim.choices, "")
        groups.setdefault((dim.kind, choices, leader.split(".")[0]), []).append(dim.name)
    for (kind, choices, follows), names in groups.items():
        yield ElasticKind(kind, tuple(names), choices, follows)


def _fixed(supernet: Supernet) -> Iterable[FixedTensors]:
    groups: dict[str, list[int]] = {}
    for name, parameter in supernet.model.named_parameters():
        path, _, tensor = name.rpartition(".")
        rule = supernet.layout.rules.get(path, {}).get(tensor)
        if not isinstance(rule, TensorRule):
            groups.setdefault(re.sub(r"(?<=\.)\d+(?=\.)", "*", name), []).append(parameter.numel())
    for pattern, counts in groups.items():
        yield FixedTensors(pattern, len(counts), sum(counts))


# --- as tables ----------------------------------------------------------------------------------------------


def render(found: Inspection) -> RenderableType:
    """The inspection as rich tables."""
    title = f"{found.model}: {spell_count(found.subnets)} subnets"
    if found.resolutions:
        title += f", each at {len(found.resolutions)} resolutions"
    if found.width_scaling:
        title += "; weights are scaled for the inputs that a subnet lacks"
    return Group(title, "", _elastic_table(found), "", _fixed_table(found), "", _cost_table(found))


def _elastic_table(found: Inspection) -> Table:
    table = _table("elastic", "where", "choices")
    for one in found.elastic:
        choices = ", ".join(f"{choice:g}" for choice in one.choices)
        table.add_row(one.kind, _places(one.names), choices + (f", following {one.follows}" if one.follows else ""))
    return table


def _fixed_table(found: Inspection) -> Table:
    table = _table("not elastic", "why")
    for what, why in found.notes.items():
        table.add_row(what, why)
    for one in found.fixed:
        tensors = f"{one.count} tensors" if one.count > 1 else "1 tensor"
        table.add_row(one.path, f"no elastic size reaches it: {tensors}, {short(one.params)} parameters")
    if not table.row_count:
        table.add_row("nothing", "every parameter follows some size")
    return table


def _cost_table(found: Inspection) -> Table:
    table = _table("subnet", "parameters", "MACs", "peak activations")
    for name, cost in (("smallest", found.smallest), ("largest", found.largest)):
        macs = "not known" if cost.macs is None else short(cost.macs)
        memory = "not known" if cost.memory_bytes is None else spell_bytes(cost.memory_bytes)
        table.add_row(name, short(cost.params), macs, memory)
    return table


def _table(*headings: str) -> Table:
    table = Table(title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _places(names: tuple[str, ...]) -> str:
    """`heads.0, heads.1, heads.2` → `heads.0 … heads.2 (3)`."""
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]} ({len(names)})"
