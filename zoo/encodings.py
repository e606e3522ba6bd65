"""Published encodings of a subnet, both ways: Once-for-All's here, DynaBERT's in `zoo.dynabert`.

    MobileNetV3, ProxylessNAS  {"ks": [...], "e": [...], "d": [...], "r": 224}
    ResNet50-D                 {"d": [...], "e": [...], "w": [...], "r": 224}

`ks` and `e` are kernel and expansion of each block, `d` is the depth of each stage, in network order. For
ResNet50-D `d` counts the blocks that are added (first the stem's, 0 or 2) and `w` holds indices into the widths
of the stem's inside, the stem and the stages. `r` is the resolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elastic import Arch, Supernet
from elastic.dims import Dim
from elastic.errors import ArchError
from zoo import dynabert
from zoo.ofa_mobilenetv3 import EXPANSIONS
from zoo.ofa_resnet import BASE_DEPTHS, WIDTHS

Entry = tuple[Dim | None, Sequence[Any]]
"""What one entry of a list speaks of, and what it says for each of the dim's choices; a fixed part has no dim."""


def to_arch(supernet: Supernet, published: Mapping[str, Any]) -> Arch:
    """The arch of a published encoding.

    Args:
        supernet: one of Once-for-All's or ProARD's, from `zoo.create`; or a transformer that reads tokens.
        published: the lists, blocks that depth leaves out included: their entries may be anything; a number instead
            of a list is meant for all of its entries. The resolution `r`, a number or a list of one, is the full one
            where it is missing.

    Raises:
        ArchError: a list that is missing, unknown or of another length, a value that isn't on offer, or a supernet
            that has no published encoding.
    """
    if dynabert.has_encoding(supernet):
        return dynabert.to_arch(supernet, published)
    lists = _lists(supernet)
    for key, value in published.items():
        if key not in lists and key != "r" and value is not None:
            raise ArchError(f"{key!r} isn't part of this supernet's encoding; it has {', '.join(lists)} and r")
    values: dict[str, Any] = {}
    for key, entries in lists.items():
        given = _per_entry(published.get(key, ()), len(entries), key)
        free = [dim.name for dim, _ in entries if dim is not None]
        if len(given) not in (len(free), len(entries)):
            raise ArchError(f"{key!r} has {len(given)} values; wanted {len(entries)}, one for each of {free[0]}, …")
        for at, ((dim, offered), value) in enumerate(zip(entries, given, strict=False)):
            if dim is not None and dim.exists(values):
                values[dim.name] = dim.choices[_index(value, offered, f"{key}[{at}]")]
    if "resolution" in supernet.space.names:
        side = published.get("r", supernet.space["resolution"].full)
        values["resolution"] = side[0] if isinstance(side, Sequence) and len(side) == 1 else side
    return supernet.space.arch(values)


def from_arch(supernet: Supernet, arch: Mapping[str, Any]) -> dict[str, Any]:
    """The published encoding of an arch; blocks that depth leaves out have the smallest values.

    Raises:
        ArchError: an arch that the supernet doesn't have, or that its encoding can't express.
    """
    if dynabert.has_encoding(supernet):
        return dynabert.from_arch(supernet, arch)
    arch = supernet.space.arch(arch)
    published: dict[str, Any] = {}
    for key, entries in _lists(supernet).items():
        published[key] = [
            offered[dim.choices.index(arch[dim.name]) if dim is not None and dim.name in arch else 0]
            for dim, offered in entries
        ]
    return published | ({"r": arch["resolution"]} if "resolution" in arch else {})


def _lists(supernet: Supernet) -> dict[str, list[Entry]]:
    """The entries of each list, in network order; depths first, since they say which others count."""
    space = supernet.space
    if "ratio.stem" in space.names:
        added = range(len(space["depth.0"].choices))
        stages = range(len(BASE_DEPTHS))
        widths = ["ratio.stem", "stem", *(f"width.{stage}" for stage in stages)]
        return {
            "d": [(space["depth.stem"], (0, added[-1])), *((space[f"depth.{stage}"], added) for stage in stages)],
            "e": [(dim, dim.choices) for dim in _of_kind(space.dims, "expand")],
            "w": [(space[name], range(len(WIDTHS))) for name in widths],
        }
    kernels = _of_kind(space.dims, "kernel")
    if not kernels:
        dims = ", ".join(space.names[:3])
        raise ArchError(f"this supernet has no published encoding; an arch says it all, by its dims: {dims}, …")
    stages_of_blocks = dict.fromkeys(dim.name.split(".")[1] for dim in kernels)
    depths = {dim.name: dim for dim in _of_kind(space.dims, "depth")}
    found = [depths.get(f"depth.{stage}") for stage in stages_of_blocks]
    return {
        "d": [(dim, (1,) if dim is None else dim.choices) for dim in found],  # ProxylessNAS's last stage has one block
        "ks": [(dim, dim.choices) for dim in kernels],
        "e": [(dim, EXPANSIONS) for dim in _of_kind(space.dims, "mid")],
    }


def _of_kind(dims: Sequence[Dim], kind: str) -> list[Dim]:
    return [dim for dim in dims if dim.kind == kind]


def _per_entry(given: Any, entries: int, key: str) -> Sequence[Any]:
    if isinstance(given, (int, float)):
        return [given] * entries
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise ArchError(f"{key!r} is {given!r:.60}; wanted a list of numbers, or one number for all")
    return given


def _index(value: Any, offered: Sequence[Any], place: str) -> int:
    if value not in offered:
        raise ArchError(f"{place} = {value!r} isn't on offer; choose one of {list(offered)}")
    return offered.index(value)
