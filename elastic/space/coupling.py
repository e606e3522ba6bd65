"""Coupled choices: sizes that follow another's choice, rank for rank, instead of making their own.

CompOFA couples the width of blocks to the depth of their stage: deep stages are wide, shallow ones narrow, and of
10^19 subnets 243 are left to train (Sahni et al., ICLR 2021, arXiv:2104.12642).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from elastic.errors import LayoutError
from elastic.space.dims import Dim
from elastic.space.sizes import Lookup, for_name


def couple_dims(dims: Sequence[Dim], couple: Mapping[str, str], depths: Collection[str]) -> dict[str, Lookup]:
    """By follower's name, the table that gives its size for each choice of its leader.

    Args:
        dims: every dim, none coupled yet.
        couple: follower → leader, each a kind, a name or a glob; where two keys speak of a dim, the later one wins.
            Of several leaders, a dim follows the one whose name parts behind the kind are the first ones of its
            own: `mid.1.0` follows `depth.1`.
        depths: the sizes that say which blocks run.

    Raises:
        LayoutError: a key that names no dim; a follower that finds no leader, whose leader is a follower, or that
            can't follow.
    """
    for key in couple:
        if not any(for_name(key, dim.name) for dim in dims):
            raise LayoutError(f"couple {key!r}: no such dim; there are {_listed(key, dims)}")
    by_name = {dim.name: dim for dim in dims}
    wanted = {dim.name: leader for dim in dims for key, leader in couple.items() if for_name(key, dim.name)}
    leaders = {name: leader for name, key in wanted.items() if (leader := _leader(by_name[name], key, dims))}
    lost = [name for name in wanted if name not in leaders]
    if lost:
        raise LayoutError(
            f"couple: {', '.join(lost)} can't follow {wanted[lost[0]]!r}; there are {_listed(wanted[lost[0]], dims)}. "
            f"Couple fewer dims (by name or glob), or leave these at full size: choices={dict.fromkeys(lost)}"
        )
    for name, leader in leaders.items():
        _check(by_name[name], leader, leaders, depths)
    return {name: _table(by_name[name], leader) for name, leader in leaders.items()}


def _leader(follower: Dim, key: str, dims: Sequence[Dim]) -> Dim | None:
    """The dim that `key` makes `follower` follow."""
    own = follower.name.split(".")[1:]
    found: dict[int, Dim] = {}
    for dim in dims:
        place = dim.name.split(".")[1:]
        if dim.name == key:
            return dim
        if for_name(key, dim.name) and place == own[: len(place)]:
            found[len(place)] = dim
    return found[max(found)] if found else None


def _listed(key: str, dims: Sequence[Dim]) -> str:
    """The dims that `key` matches; if there are none, those of its kind; if there are none either, all kinds."""
    meant = [dim.name for dim in dims if for_name(key, dim.name)]
    near = [dim.name for dim in dims if dim.kind == key.split(".")[0]]
    return ", ".join(meant or near or sorted({dim.kind for dim in dims}))


def _check(follower: Dim, leader: Dim, leaders: Mapping[str, Dim], depths: Collection[str]) -> None:
    refused = f"couple: {follower.name} can't follow {leader.name}"
    if leader.name in leaders:
        raise LayoutError(
            f"{refused}, which follows {leaders[leader.name].name}: a leader chooses for itself; "
            "name the followers so that it isn't one of them"
        )
    for dim in (follower, leader):
        if not dim.counted:
            raise LayoutError(f"{refused}: {dim.name} changes the input, not the network; offer fewer choices of it")
    if follower.name in depths:
        raise LayoutError(f"{refused}: {follower.name} says which blocks run; let it lead, the other way round")
    if not all(any(set(own) <= set(use) for own in leader.uses) for use in follower.uses):
        raise LayoutError(
            f"{refused}, whose block isn't in every subnet that has {follower.name}; choose a leader in the same block"
        )


def _table(follower: Dim, leader: Dim) -> Lookup:
    """The leader's k-th choice gives the follower's k-th; with other numbers of choices the nearest rank's."""
    last, top = len(leader.choices) - 1, len(follower.choices) - 1
    ranks = [(2 * at * top + last) // (2 * last) for at in range(last + 1)]  # halves go up
    return Lookup(leader.name, tuple(zip(leader.choices, (follower.choices[rank] for rank in ranks), strict=True)))
