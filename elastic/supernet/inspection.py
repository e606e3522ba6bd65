"""Inspection: which parts of a supernet are elastic, which aren't and why, and the costs of its subnets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from elastic.errors import CostError, LayoutError
from elastic.layers.modules import upstream_class
from elastic.layers.read_rules import TensorRule
from elastic.space.arch import Arch
from elastic.space.sizes import Lookup, Number
from elastic.supernet.supernet import Supernet
from elastic.support.text import html_table, short, spell_bytes, spell_count, spell_names


@dataclass(frozen=True)
class ElasticKind:
    """Dims of one kind (`heads.0` … `heads.11`) that offer the same choices, or sizes that follow one kind of dim.

    Attributes:
        kind: the first part of their names.
        names: the dims, or the sizes that follow.
        choices: ascending.
        follows: the kind of dim whose choice they follow; empty for dims that choose for themselves.
    """

    kind: str
    names: tuple[str, ...]
    choices: tuple[Number, ...]
    follows: str = ""


@dataclass(frozen=True)
class FixedTensors:
    """Parameters of one place in the model that no size reaches.

    Attributes:
        path: their name, with `*` for numbers that vary.
        count: number of tensors.
        params: number of parameters in them.
    """

    path: str
    count: int
    params: int


@dataclass(frozen=True)
class SubnetCosts:
    """Costs of one subnet on one input; None if no formula was found, which may happen in a discovered layout."""

    params: int
    macs: int | None
    memory_bytes: int | None


@dataclass(frozen=True, repr=False)
class Inspection:
    """The result of `inspect`.

    Attributes:
        model: name of the model's class.
        elastic: the dims, and the sizes that follow them; empty if nothing is elastic.
        notes: part that the recipe keeps fixed → reason.
        fixed: parameters without any elastic axis.
        smallest: costs of the smallest subnet.
        largest: costs of the largest subnet, which is the original model.
        subnets: the exact number of distinct networks.
        resolutions: choices of the resolution, in pixels.
        width_scaling: whether weights are scaled for the inputs that a narrow subnet lacks.
    """

    model: str
    elastic: tuple[ElasticKind, ...]
    notes: dict[str, str]
    fixed: tuple[FixedTensors, ...]
    smallest: SubnetCosts
    largest: SubnetCosts
    subnets: int
    resolutions: tuple[Number, ...]
    width_scaling: bool = False

    def __repr__(self) -> str:
        """One line: how many subnets, what is elastic, and what the smallest and the largest have of parameters."""
        kinds = ", ".join(dict.fromkeys(one.kind for one in self.elastic)) or "nothing"
        params = " to ".join(short(costs.params) for costs in (self.smallest, self.largest))
        return f"Inspection({self.model}: {spell_count(self.subnets)} subnets, elastic: {kinds}, {params} parameters)"

    def _repr_html_(self) -> str:
        """What is elastic, as a table, for notebooks."""
        rows = [(one.kind, spell_names(one.names), _choices(one)) for one in self.elastic]
        return html_table([f"elastic in {self.model}", "where", "choices"], rows)


def inspect(supernet: Supernet) -> Inspection:
    """List the elastic and the fixed parts of `supernet`, and the costs of its corners. Activates nothing.

    Raises:
        LayoutError: something else than a supernet.
    """
    if not isinstance(supernet, Supernet):
        made = "make a supernet of it: elastic.inspect(elastic.elasticize(model))"
        raise LayoutError(f"elastic.inspect takes a supernet, not a {type(supernet).__name__}; {made}")
    space = supernet.space
    corners = [space.smallest, space.largest]
    counted = [supernet.params(corners), *(_counted(cost, corners) for cost in (supernet.macs, supernet.memory))]
    smallest, largest = (
        SubnetCosts(int(params), macs if macs is None else int(macs), memory if memory is None else int(memory))
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
    elastic: list[RenderableType] = ["", _elastic_table(found)] if found.elastic else []
    fixed = _fixed_table(found) if found.subnets > 1 or found.notes else "no axis of any parameter is elastic"
    return Group(_title(found), *elastic, "", fixed, "", _cost_table(found))


def _title(found: Inspection) -> str:
    if not found.elastic:
        return f"{found.model}: nothing is elastic; its only subnet is the model itself"
    title = f"{found.model}: {spell_count(found.subnets)} subnet{'s' * (found.subnets != 1)}"
    if found.resolutions:
        title += f", {'each ' * (found.subnets != 1)}at {len(found.resolutions)} resolutions"
    if found.width_scaling:
        title += "; weights are scaled for the inputs that a subnet lacks"
    return title


def _elastic_table(found: Inspection) -> Table:
    table = _table("elastic", "where", "choices")
    for one in found.elastic:
        table.add_row(one.kind, spell_names(one.names), _choices(one))
    return table


def _choices(one: ElasticKind) -> str:
    choices = ", ".join(f"{choice:g}" for choice in one.choices)
    return choices + (f", following {one.follows}" if one.follows else "")


def _fixed_table(found: Inspection) -> Table:
    table = _table("not elastic", "why")
    for what, why in found.notes.items():
        table.add_row(what, why)
    for one in found.fixed if found.subnets > 1 else ():
        tensors = f"{one.count} tensors" if one.count > 1 else "1 tensor"
        table.add_row(one.path, f"no axis of it is elastic: {tensors}, {short(one.params)} parameters")
    if not table.row_count:
        table.add_row("nothing", "every parameter has an elastic axis")
    return table


def _cost_table(found: Inspection) -> Table:
    table = _table("subnet", "parameters", "MACs", "peak activations")
    rows = (("smallest", found.smallest), ("largest", found.largest))
    for name, cost in rows if found.elastic else (("the model", found.largest),):
        macs = "not known" if cost.macs is None else short(cost.macs)
        memory = "not known" if cost.memory_bytes is None else spell_bytes(cost.memory_bytes)
        table.add_row(name, short(cost.params), macs, memory)
    return table


def _table(*headings: str) -> Table:
    table = Table(title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
