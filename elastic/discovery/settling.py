"""Settling which sizes are elastic: what fails alone is kept at full size, what works only together shares one size."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from elastic.errors import LayoutError
from elastic.layout.recipe import Recipe
from elastic.space.dims import Dim
from elastic.space.sizes import Number

Attempt = Callable[[Mapping[str, Number]], str]
"""Tries these values of the dims, with all others at full size; returns the problem, or an empty text."""

Subnet = dict[str, Number]
"""Dims that aren't at full size, and their values."""


@dataclass
class Settled:
    """What was found out.

    Attributes:
        fixed: dims that have to stay at full size → the problem otherwise.
        joined: depths that work only with another one → the depth whose size they share.
    """

    fixed: dict[str, str] = field(default_factory=dict)
    joined: dict[str, str] = field(default_factory=dict)

    def apply(self, values: Mapping[str, Number]) -> Subnet:
        """The values without what is fixed; joined depths have the value of the depth that they share."""
        kept = {name: value for name, value in values.items() if name not in self.fixed and name not in self.joined}
        return kept | {name: kept[leader] for name, leader in self.joined.items() if leader in kept}

    def recipe(self, recipe: Recipe, what: str) -> Recipe:
        """The recipe with these findings, each with a note.

        Args:
            recipe: what was tried.
            what: of what is fixed, in words, before the problem.
        """
        if not self.fixed and not self.joined:
            return recipe
        notes = {**recipe.notes, **{name: f"{what}: {why}" for name, why in self.fixed.items()}}
        for name, leader in self.joined.items():
            notes[name] = f"the code runs these blocks together with others: it is always the same as {leader}"
        layout = {entry: self.joined.get(text, text) for entry, text in recipe.layout.items()}
        settled = replace(recipe.with_choices(dict.fromkeys(self.fixed)), notes=notes, layout=layout)
        dims = {name: rule for name, rule in settled.dims.items() if name not in self.joined}
        return replace(settled, dims=dims)


def settle(attempt: Attempt, dims: Sequence[Dim], subnets: Iterator[Subnet]) -> Settled:
    """Try subnets, and find out what has to be kept or shared for all of them to work.

    Raises:
        LayoutError: the model doesn't even work at full size.
    """
    by_name, found = {dim.name: dim for dim in dims}, Settled()
    for subnet in subnets:
        values = found.apply(subnet)
        problem = attempt(values)
        if problem and len(values) > 1 and not found.fixed:
            for name, value in values.items():  # most often each of the sizes that don't work fails alone
                _keep(found, name, attempt({name: value}), attempt, by_name)
            values = found.apply(subnet)
            problem = attempt(values)
        while problem:
            if not values:
                raise LayoutError(f"the model can't follow its layout, even at full size: {problem}")
            values = _narrowed(attempt, values)
            _keep(found, list(values)[-1], attempt(values) or problem, attempt, by_name, list(values)[:-1])
            values = found.apply(subnet)
            problem = attempt(values)
    return found


def _keep(
    found: Settled,
    name: str,
    problem: str,
    attempt: Attempt,
    dims: Mapping[str, Dim],
    others: Sequence[str] = (),
) -> None:
    """Share a depth's size with another one, where the two work together; else keep a dim at full size."""
    if not problem or name in found.fixed or name in found.joined:
        return
    leader = _leader(found, dims[name], attempt, dims, others)
    if leader is None:
        found.fixed[name] = problem
    else:
        found.joined[name] = leader


def _leader(found: Settled, dim: Dim, attempt: Attempt, dims: Mapping[str, Dim], others: Sequence[str]) -> str | None:
    if dim.kind != "depth" or dim.name in found.joined.values():
        return None
    alike = [one for one in dims.values() if one.kind == "depth" and one.choices == dim.choices and one is not dim]
    for one in sorted(alike, key=lambda one: one.name not in others):
        free = one.name not in found.fixed and one.name not in found.joined
        if free and not any(attempt({dim.name: choice, one.name: choice}) for choice in dim.choices[:-1]):
            return one.name
    return None


def _narrowed(attempt: Attempt, values: Subnet) -> Subnet:
    """As few of the values as still fail."""
    names = list(values)
    while len(names) > 1:
        halves = names[: len(names) // 2], names[len(names) // 2 :]
        failing = next((half for half in halves if attempt({name: values[name] for name in half})), None)
        if failing is None:
            break
        names = failing
    for name in list(names) if len(names) > 1 else ():
        rest = [other for other in names if other != name]
        if rest and attempt({other: values[other] for other in rest}):
            names = rest
    return {name: values[name] for name in names}


# --- which subnets are tried ------------------------------------------------------------------------------------


def smallest_of(dims: Sequence[Dim]) -> Subnet:
    """Every dim at its smallest."""
    return {dim.name: dim.choices[0] for dim in dims}


def kinds_of(dims: Sequence[Dim], most: int) -> Iterator[Subnet]:
    """Each kind of dim at its smallest, the others at full size; each dim alone where there are no more than `most`."""
    kinds = sorted({dim.kind for dim in dims})
    groups = [[dim] for dim in dims] if len(dims) <= most else [[d for d in dims if d.kind == kind] for kind in kinds]
    if len(groups) > 1:
        yield from (smallest_of(group) for group in groups[:most])


def mixtures_of(dims: Sequence[Dim], count: int) -> Iterator[Subnet]:
    """Random values of random dims; the same ones every time."""
    draw = random.Random(0)
    for _ in range(count if len(dims) > 1 else 0):
        chosen = [dim for dim in dims if draw.random() < 0.5] or [draw.choice(dims)]
        yield {dim.name: draw.choice(dim.choices[:-1]) for dim in chosen}
