"""Packages that look as if they weren't installed."""

import sys
from importlib.machinery import ModuleSpec
from typing import Any


class _Without:
    """A finder of modules that finds none of some packages.

    Attributes:
        finder: finds all others.
        names: the packages.
    """

    def __init__(self, finder: Any, names: tuple[str, ...]) -> None:
        self.finder, self.names = finder, names

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        hidden = name.partition(".")[0] in self.names
        return None if hidden else self.finder.find_spec(name, path, target)


def hide(*names: str) -> None:
    """Hide packages from this process, in which none of them has been imported."""
    assert not {name.partition(".")[0] for name in sys.modules} & {*names}
    sys.meta_path[:] = [_Without(finder, names) for finder in sys.meta_path]
