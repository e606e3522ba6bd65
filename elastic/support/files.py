"""Files: written whole or not at all, several that belong together at once; JSON, read with clear errors."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_STAGED, _READY, _RANDOM = ".staged-", ".ready-", "?" * 8
"""What folders are called: of files that are being written, and of whole ones that move in; what `tempfile` appends."""
_BEFORE, _GONE = ".before", ".gone"
"""Folders in these: of the files that were there before, and of the names of those to remove."""
_STALE = 24 * 3600.0
"""Nobody writes into a stage for so many seconds: its process was killed."""


@contextmanager
def staged(folder: str | Path) -> Iterator[Path]:
    """A folder to write files into; once the block ends well, they move into `folder`, all of them or none.

    Where the block or a move fails (a full disk, Ctrl-C), what was in `folder` before is as it was. Where the process
    is killed between two moves, whoever next stages files or reads JSON there ends them. Other files in `folder` stay,
    but for those that `remove_with` names. An OSError that doesn't say where it happened is made to name `folder`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _settle(folder)
    _sweep(folder)
    stage = Path(tempfile.mkdtemp(prefix=_STAGED, dir=folder))  # inside: a rename must not cross file systems
    try:
        yield stage
        _move_in(stage)
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def remove_with(stage: Path, name: str) -> None:
    """Let the folder's file `name` go in the moment in which what is staged moves in."""
    (stage / _GONE).mkdir(exist_ok=True)
    (stage / _GONE / name).touch()


def _move_in(stage: Path) -> None:
    """Move what is staged into the folder around it, or leave that as it was."""
    names = _staged_names(stage)
    _keep_former(stage, names)
    # one atomic step: from here on the new files count, whoever moves them
    ready = stage.rename(stage.with_name(stage.name.replace(_STAGED, _READY)))
    try:
        _end_moves(ready, names)
    except BaseException:
        _take_back(ready, names)
        raise
    _drop(ready)


def _staged_names(stage: Path) -> list[str]:
    """What is to move, descriptions last: whoever reads one finds the files that it describes."""
    names = {path.name for path in stage.iterdir()} - {_BEFORE, _GONE}
    return sorted(names, key=lambda name: (name.endswith(".json"), name))


def _keep_former(stage: Path, names: list[str]) -> None:
    """Keep the folder's files that are to be replaced or removed, beside those that are staged."""
    before = stage / _BEFORE
    before.mkdir()
    for name in [*names, *(path.name for path in (stage / _GONE).glob("*"))]:
        former = stage.parent / name
        if former.is_file():
            try:
                (before / name).hardlink_to(former)
            except OSError:  # a file system without links
                shutil.copy2(former, before / name)


def _end_moves(ready: Path, names: list[str]) -> None:
    """Several processes may do so at once: what isn't there any more, another one has moved."""
    for path in (ready / _GONE).glob("*"):
        (ready.parent / path.name).unlink(missing_ok=True)
    for name in names:
        with suppress(FileNotFoundError):
            (ready / name).replace(ready.parent / name)


def _take_back(ready: Path, names: list[str]) -> None:
    """Make the folder what it was before; until that is done, nothing of the new files is lost either."""
    for name in names:
        if not (ready / name).exists():
            (ready.parent / name).replace(ready / name)
    for path in (ready / _BEFORE).glob("*"):
        path.replace(ready.parent / path.name)
    _drop(ready)


def _drop(ready: Path) -> None:
    """Remove a folder whose moves are ended: by its name first, so that nobody ends them again with what is left."""
    stage = ready.with_name(ready.name.replace(_READY, _STAGED))
    with suppress(FileNotFoundError):  # another process was faster
        ready.rename(stage)
    shutil.rmtree(stage, ignore_errors=True)


def _settle(folder: Path) -> None:
    """End the moves of a process that was killed between two of them."""
    for ready in folder.glob(_READY + _RANDOM):
        with suppress(FileNotFoundError):  # another process was faster
            _end_moves(ready, _staged_names(ready))
            _drop(ready)


def _sweep(folder: Path) -> None:
    """Remove what processes had staged that were killed; what is younger may be of one that is at work."""
    for stage in folder.glob(_STAGED + _RANDOM):
        with suppress(FileNotFoundError):
            if time.time() - stage.stat().st_mtime > _STALE:
                shutil.rmtree(stage, ignore_errors=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file beside `path`, then rename it: `path` is never half written."""
    path = Path(path)
    with staged(path.parent) as stage:
        (stage / path.name).write_text(text, encoding="utf-8")
    return path


def write_json(path: str | Path, values: Any) -> Path:
    """Write readable JSON, whole or not at all."""
    return write_text(path, json.dumps(values, indent=1) + "\n")


def read_json(path: str | Path, error: type[Exception], wanted: str) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: the file.
        error: the class of the errors raised.
        wanted: what the file should be, for the message: "a device profile".

    Raises:
        error: no such file, not JSON, or not an object.
        OSError: it may not be read, or files that a killed process left beside it may not be moved in.
    """
    _settle(Path(path).parent)
    try:
        values = json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError as missing:
        raise error(f"{path} doesn't exist; wanted {wanted}") from missing
    except (json.JSONDecodeError, UnicodeDecodeError, IsADirectoryError, NotADirectoryError) as broken:
        raise error(f"{path} isn't {wanted}: {broken}; it may be truncated, make it again") from broken
    if not isinstance(values, dict):
        raise error(f"{path} isn't {wanted}: it holds a {type(values).__name__}, not a JSON object")
    return values


def sha256(path: Path) -> str:
    """A file's SHA-256, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
