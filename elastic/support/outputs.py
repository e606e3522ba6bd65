"""Places to write to, checked before the work whose results they are to hold."""

from __future__ import annotations

import os
from pathlib import Path

from elastic.errors import UsageError


def check_outputs(files: dict[str, str | None], folders: dict[str, str | None]) -> None:
    """Check that results can be written where they are to go; nothing is made there.

    Args:
        files: option → the file that it names; None where it isn't given.
        folders: likewise of folders; they may be there already.

    Raises:
        UsageError: an empty name, a folder where a file is wanted, a file where a folder is, a parent that may not be
            written to, or two options that name the same file.
    """
    seen: dict[Path, str] = {}
    for option, given in files.items():
        if given is None:
            continue
        path = _named(option, given)
        if path.is_dir():
            raise UsageError(f"{option} {given} is a folder, wanted a file to write, such as {path / 'FILE'}")
        other = seen.setdefault(path.absolute(), option)
        if other != option:
            raise UsageError(f"{other} and {option} both name {given}; give each a file of its own")
        _check_parent(option, given, path.absolute().parent)
    for option, given in folders.items():
        if given is not None:
            path = _named(option, given)
            if path.exists() and not path.is_dir():
                raise UsageError(f"{option} {given} is a file, wanted a folder to write into; name another")
            _check_parent(option, given, path.absolute())


def _named(option: str, given: str) -> Path:
    if not given.strip():
        raise UsageError(f"{option} is empty: wanted a place to write to")
    return Path(given)


def _check_parent(option: str, given: str, folder: Path) -> None:
    """Check that `folder` can be written into, or made where it is missing."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise UsageError(f"{option} {given}: {there} is a file, so nothing can be written below it; name another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {given}: {there} may not be written to; name another place, or change its mode")
