"""DynaBERT's published encoding of a subnet, `{"width": 0.75, "depth": 0.5}`, both ways.

One width for the heads and feed-forward neurons of all layers, and one depth, as parts of the full model.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from elastic import Arch, Supernet
from elastic.errors import ArchError
from elastic.space.dims import Dim

_KEYS = ("width", "depth")


def has_encoding(supernet: Supernet) -> bool:
    """Whether a supernet has this encoding: it reads tokens, and its heads have no groups."""
    return supernet.recipe.vocabulary is not None and "heads.0" in supernet.layout.sizes


def to_arch(supernet: Supernet, published: Mapping[str, Any]) -> Arch:
    """The arch with this width and depth.

    Raises:
        ArchError: a part that is missing, unknown, not in (0, 1], or makes a size that isn't on offer.
    """
    if set(published) != set(_KEYS):
        raise ArchError(f"a transformer's encoding has width and depth, such as 0.75 and 0.5; got {dict(published)}")
    for key, part in published.items():
        if not isinstance(part, (int, float)) or not 0 < part <= 1:
            raise ArchError(f"{key} = {part!r} is no part of the full model; wanted a number above 0 and up to 1")
    space = supernet.space  # drops the dims that the depth leaves out
    return space.arch({dim.name: _part(supernet, dim, published[_key(dim)]) for dim in space.dims})


def from_arch(supernet: Supernet, arch: Mapping[str, Any]) -> dict[str, Any]:
    """The width and depth of an arch.

    Raises:
        ArchError: an arch that the supernet doesn't have, or whose layers differ in width.
    """
    arch = supernet.space.arch(arch)
    for width, depth in itertools.product(_offered(supernet, "heads.0"), _offered(supernet, "depth")):
        published = {"width": width, "depth": depth}
        try:
            if to_arch(supernet, published) == arch:
                return published
        except ArchError:  # this supernet has fewer choices than its recipe
            continue
    raise ArchError(f"DynaBERT's encoding has one width for all layers and one depth, which {arch} isn't made of")


def _key(dim: Dim) -> str:
    return "depth" if dim.kind == "depth" else "width"


def _part(supernet: Supernet, dim: Dim, part: float) -> Any:
    """The size that the recipe makes of a part of the full one."""
    return replace(supernet.recipe.rule(dim.name), choices=(float(part),)).resolve(int(dim.full))[0]


def _offered(supernet: Supernet, name: str) -> list[float]:
    """The parts that the recipe offers of a size; its sizes in parts of the full one."""
    size = supernet.layout.sizes[name]
    choices = supernet.recipe.rule(name).choices
    return sorted({1.0} | {choice if isinstance(choice, float) else choice / size.full for choice in choices})
