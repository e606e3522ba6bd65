"""Places to write to, checked before the work whose results they are to hold."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from elastic.errors import UsageError

_CURE = "name another place, or add --overwrite"


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


def check_replaced(files: Mapping[str, tuple[str | None, str]], folders: Mapping[str, tuple[str | None, str]]) -> None:
    """Check that only results of an earlier call are replaced.

    Args:
        files: option → the file that it names, None where it isn't given; and a regular expression for the beginning of
            what may be replaced.
        folders: likewise of folders: `subnet`: an exported subnet may be replaced; `new`: nothing may; `any`.

    Raises:
        UsageError: something else is there, a link or a device, say.
    """
    for option, (given, begins) in files.items():
        if given is not None:
            _check_former_file(option, Path(given), begins)
    for option, (given, kind) in folders.items():
        if given is not None and kind != "any":
            _check_former_folder(option, Path(given), kind)


def _check_former_file(option: str, path: Path, begins: str) -> None:
    if path.is_symlink():
        raise UsageError(f"{option} {path} is a link, which would be replaced by a file; {_CURE}")
    if not path.exists():
        return
    if not path.is_file():
        raise UsageError(f"{option} {path} is a device or a pipe, which would be replaced by a file; name a file")
    beginning = _beginning(path)
    if beginning.strip() and not re.match(begins, beginning):
        raise UsageError(f"{option} {path} is there, and isn't a result of this command; {_CURE}")


def _check_former_folder(option: str, folder: Path, kind: str) -> None:
    if not folder.is_dir():
        return
    there = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if there and not (kind == "subnet" and _is_subnet(folder / "config.json")):
        wanted = "a subnet that was exported before, or nothing" if kind == "subnet" else "nothing"
        more = " …" if there[3:] else ""
        raise UsageError(f"{option} {folder} holds {', '.join(there[:3])}{more}, wanted {wanted}; {_CURE}")


def _is_subnet(path: Path) -> bool:
    return path.is_file() and '"kind": "elastic subnet"' in _beginning(path)


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(1 << 20).decode("utf-8", "replace")


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
