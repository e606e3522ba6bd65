"""Packages that not everyone has installed: asked for before anything is written, and named with the cure."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from elastic.errors import ExportError


def require_packages(what: str, packages: Sequence[str], extras: str) -> None:
    """Check that packages are installed.

    Args:
        what: needs them, for the message: "ONNX".
        packages: their modules' names.
        extras: the extras of this project that hold them, separated by commas.

    Raises:
        ExportError: one is missing; the message says how to install it.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ExportError(f"{what} needs {', '.join(missing)}; install with: pip install 'elastic-supernets[{extras}]'")
