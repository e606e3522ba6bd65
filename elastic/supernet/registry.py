"""Supernets by name, beside timm's models: a package offers its own, as this project's zoo does.

A package announces itself by an entry point of the group `elastic.supernets` that names a module; importing that
module registers its supernets. So whoever loads an exported subnet needs to import nothing of the zoo.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import nn

    from elastic.layout.recipe import Recipe
    from elastic.supernet.supernet import Supernet

_GROUP = "elastic.supernets"
_REGISTERED: dict[str, NamedSupernet] = {}


class NamedSupernet(Protocol):
    """Interface of a supernet that a package registers under a name."""

    @property
    def license(self) -> str:
        """License of its pretrained weights, and so of the subnets that are cut out of them."""

    def build(self, **options: Any) -> tuple[nn.Module, Recipe]:
        """The plain model with fresh weights, and the recipe that makes it elastic.

        Raises:
            RecipeError: an option that it doesn't have.
        """

    def load(self, supernet: Supernet) -> None:
        """Load pretrained weights into a supernet that was made from `build`'s model.

        Raises:
            CheckpointError: there are none, they can't be had, or they don't fit.
        """


def register_supernets(named: Mapping[str, NamedSupernet]) -> None:
    """Register supernets by name, for `SupernetSource` and every command."""
    _REGISTERED.update(named)


def find_supernet(name: str) -> NamedSupernet | None:
    """The supernet of that name; None where there is none."""
    if name not in _REGISTERED:
        _discover()
    return _REGISTERED.get(name)


def supernet_names() -> list[str]:
    """The names of all supernets on offer."""
    _discover()
    return sorted(_REGISTERED)


def is_place(given: str | Path) -> bool:
    """Whether a path is given rather than a name: what is there comes before names, and no name has a slash alone.

    `transformers:OWNER/NAME` and `hf-hub:OWNER/NAME` are names.
    """
    return Path(given).exists() or ("/" in str(given) and ":" not in str(given))


def named_supernet(place: str | Path) -> NamedSupernet | None:
    """What a package offers under this name; None for a path that exists, which comes first, and for other names."""
    return None if is_place(place) else find_supernet(str(place))


@cache
def _discover() -> None:
    for announced in entry_points(group=_GROUP):
        announced.load()
