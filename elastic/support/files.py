"""Files: written whole or not at all, several that belong together one after another."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from elastic.errors import CheckpointError
from elastic.support.text import did_you_mean

_STAGED = ".staged-"
"""Prefix of the folders in which files are being written."""
_SHOWN = 5
"""So many folders are named where one doesn't exist and none is near."""
_STALE = 24 * 3600.0
"""Nobody writes into such a folder for this many seconds: its process was killed."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A file to write beside `path`; once the block ends well it takes the place of `path`, in one step.

    Raises:
        OSError: the disk is full, or may not be written to; what was at `path` before is whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def staged(folder: str | Path) -> Iterator[Path]:
    """A folder to write files into; once the block ends well, each takes its place in `folder`, `.json` files last.

    Where the block fails (a full disk, Ctrl-C), `folder` is as it was; its other files stay in any case. Where a
    process is killed between two files, the former `.json` file is still there, and the digests in it reveal that the
    files it describes are newer: whoever reads them refuses (see `check_file`).

    Raises:
        OSError: the disk is full, or may not be written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    stage = Path(tempfile.mkdtemp(prefix=_STAGED, dir=folder))  # inside: a rename must not cross file systems
    try:
        yield stage
        for path in sorted(stage.iterdir(), key=lambda path: (path.suffix == ".json", path.name)):
            path.replace(folder / path.name)
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what processes had staged that were killed; what is younger may be of one that is at work."""
    for stage in folder.glob(f"{_STAGED}????????"):
        with suppress(FileNotFoundError):
            if time.time() - stage.stat().st_mtime > _STALE:
                shutil.rmtree(stage, ignore_errors=True)


def check_file(path: Path, digest: str, error: type[Exception]) -> None:
    """Check that a file is the one whose digest was written down beside it.

    Args:
        path: the file.
        digest: its SHA-256, as hexadecimal digits.
        error: the class of the error raised.

    Raises:
        error: it is another file.
    """
    if sha256(path) != digest:
        raise error(
            f"{path} isn't the file that was saved with its JSON (another SHA-256): it was altered, or a process was "
            "killed while it replaced both; write them again"
        )


def near_folder(place: str | Path, holding: str, wanted: str, names: Iterable[str] = ()) -> str:
    """The part of a message that cures a folder which doesn't exist: which one may be meant, or which there are.

    Args:
        place: what was given.
        holding: a file that each folder of this kind has; they are looked for beside `place`, and among the runs.
        wanted: what to say where there is none.
        names: what else may be given.
    """
    rooms = {Path(place).parent, Path("runs")}
    files = sorted(
        (file for room in rooms for file in room.glob(f"*/{holding}")), key=lambda file: -file.stat().st_mtime
    )
    folders = [str(file.parent) for file in files]
    typed = {Path(folder).name: folder for folder in reversed(folders)} | {folder: folder for folder in folders}
    newest = ", ".join(folders[:_SHOWN]) + (", …" if len(folders) > _SHOWN else "")
    others = f"there are {newest}" if folders[1:] else f"there is {newest}" if folders else f"wanted {wanted}"
    return did_you_mean(str(place), {name: name for name in names} | typed, others)


def refuse_links(folder: str | Path) -> None:
    """Check that a folder from elsewhere holds files of its own only: what a link leads to isn't its author's to give.

    Raises:
        CheckpointError: there is a link in it.
    """
    link = next((path for path in sorted(Path(folder).rglob("*")) if path.is_symlink()), None)
    if link is not None:
        raise CheckpointError(f"{link} is a link, which isn't followed out of a folder; replace it by the file")


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | Path, values: Any) -> Path:
    """Write readable JSON, whole or not at all."""
    return write_text(path, json.dumps(values, indent=1) + "\n")


def sha256(path: Path) -> str:
    """A file's SHA-256, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
