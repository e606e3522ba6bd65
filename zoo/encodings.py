"""Once-for-All's published encoding of a subnet, both ways: `{"ks": [...], "e": [...], "d": [...], "r": ...}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elastic import Arch, Supernet
from elastic.dims import Dim
from elastic.errors import ArchError
from zoo.ofa_mobilenetv3 import EXPANSIONS

_KINDS = {"ks": "kernel", "e": "mid", "d": "depth"}


def to_arch(supernet: Supernet, published: Mapping[str, Any]) -> Arch:
    """The arch of a published encoding.

    Args:
        supernet: one of Once-for-All's, from `zoo.create`.
        published: `ks` and `e`, kernel and expansion of each block, `d`, depth of each stage, in network order;
            `r`, the resolution, is the full one where it is missing. What depth leaves out may be anything on
            offer.

    Raises:
        ArchError: a list that is missing or of another length, or a value that isn't on offer.
    """
    values: dict[str, Any] = {}
    for key, dims in _dims(supernet).items():
        given: Sequence[Any] = published.get(key, ())
        if len(given) != len(dims):
            raise ArchError(f"{key!r} has {len(given)} values; wanted {len(dims)}, one for each of {dims[0].name}, …")
        for at, (dim, value) in enumerate(zip(dims, given, strict=True)):
            values[dim.name] = dim.choices[_index(value, _offered(key, dim), f"{key}[{at}]")]
    if "resolution" in supernet.space.names:
        values["resolution"] = int(published.get("r", supernet.space["resolution"].full))
    return supernet.space.arch(values)


def from_arch(supernet: Supernet, arch: Mapping[str, Any]) -> dict[str, Any]:
    """The published encoding of an arch; blocks that depth leaves out have the smallest values.

    Raises:
        ArchError: an arch that the supernet doesn't have.
    """
    arch = supernet.space.arch(arch)
    published: dict[str, Any] = {}
    for key, dims in _dims(supernet).items():
        at = [dim.choices.index(arch[dim.name]) if dim.name in arch else 0 for dim in dims]
        published[key] = [_offered(key, dim)[index] for dim, index in zip(dims, at, strict=True)]
    return published | ({"r": arch["resolution"]} if "resolution" in arch else {})


def _dims(supernet: Supernet) -> dict[str, list[Dim]]:
    """The dims of each list, in network order."""
    return {key: [dim for dim in supernet.space.dims if dim.kind == kind] for key, kind in _KINDS.items()}


def _offered(key: str, dim: Dim) -> Sequence[Any]:
    """What a list may say, in the order of the dim's choices."""
    return EXPANSIONS if key == "e" else dim.choices


def _index(value: Any, offered: Sequence[Any], place: str) -> int:
    if value not in offered:
        raise ArchError(f"{place} = {value!r} isn't on offer; choose one of {list(offered)}")
    return offered.index(value)
