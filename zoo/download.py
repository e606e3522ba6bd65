"""Downloads: once into a cache, resumed where they broke off, and checked before they count as there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock
from rich import get_console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from torch import hub

from elastic.errors import CheckpointError
from elastic.support.files import sha256
from zoo.published.load import read_state_dict

_VARIABLE = "ELASTIC_CACHE"
_SECONDS = 30.0
"""How long a server may say nothing."""


def cache_folder() -> Path:
    """Where downloads are kept: `$ELASTIC_CACHE`, or else a folder in PyTorch's own cache (see `torch.hub`)."""
    chosen = os.environ.get(_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(hub.get_dir()).parent / "elastic"


def download(url: str, name: str, digest: str | None = None, size: int | None = None) -> Path:
    """The file behind `url`, from the cache where it is there; the network isn't asked then.

    Several processes may ask at once: one downloads, the others wait for it. A download that broke off leaves
    `NAME.part`, and the next one goes on from there; `NAME` is only ever a whole file.

    Args:
        url: its address.
        name: the file's name in the cache.
        digest: the SHA-256 that it must have, as hexadecimal digits; None: isn't known, and it must be a file that
            `read_state_dict` reads.
        size: the bytes that it must have; None: isn't known.

    Raises:
        CheckpointError: no network, no such address, a download that broke off, or another file than wanted.
        OSError: the disk is full, or may not be written to.
    """
    path = cache_folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.exists() and _objection(path, digest, size) is None:
            return path
        part = path.with_name(f"{name}.part")
        _complete(url, part, path, size)
        objection = _objection(part, digest, size)
        if objection is not None:
            part.unlink()
            raise CheckpointError(
                f"{url} isn't the file that was published: {objection}. It was thrown away; download it again, and if "
                f"that is of no use, get it elsewhere and put it at {path}"
            )
        part.replace(path)
    return path


def _objection(path: Path, digest: str | None, size: int | None) -> str | None:
    """What is wrong with a file; None if nothing is."""
    given = path.stat().st_size
    if size is not None and given != size:
        return f"it has {given} bytes, wanted {size}"
    if digest is None:
        return _unreadable(path)
    found = sha256(path)
    return None if found == digest else f"its SHA-256 is {found}, wanted {digest}"


def _unreadable(path: Path) -> str | None:
    """Why it isn't a file of Once-for-All's, as those are of which no digest is known; None if it is."""
    try:
        read_state_dict(path)
    except CheckpointError:
        return "it is no PyTorch file with a state_dict, or a truncated one"
    return None


def _complete(url: str, part: Path, path: Path, size: int | None) -> None:
    """Download what `part` lacks, and go on for as long as there is progress."""
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _append(url, part, before, size):
                return
            reason = "the connection broke off"
        except HTTPError as error:
            if error.code == 416 and before:  # there is nothing behind what is there: it is another file's
                part.unlink()
                continue
            reason = f"the server says {error.code} {error.reason}"
        except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        after = part.stat().st_size if part.exists() else 0
        if after <= before:
            there = f"; the {after} bytes that are there are kept, and the next download goes on from there"
            raise CheckpointError(
                f"can't download {url}: {reason}{there if after else ''}. Without a network, get the file elsewhere "
                f"and put it at {path}"
            )


def _append(url: str, part: Path, begin: int, size: int | None) -> bool:
    """Ask for the bytes from `begin` on, and write them behind those of `part`; whether that was the file's end.

    A server that doesn't say how many bytes follow can break off unnoticed; `size`, where it is known, tells.
    """
    request = Request(url, headers={"Range": f"bytes={begin}-"} if begin else {})  # noqa: S310 - an entry's address
    with urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - as above
        begin = begin if answer.status == 206 else 0  # others send all of it
        length = answer.headers.get("Content-Length")
        end = size if length is None else begin + int(length)
        with part.open("ab" if begin else "wb") as file, _progress(part.stem, begin, end) as shown:
            while piece := answer.read(1 << 16):
                file.write(piece)
                shown.advance(shown.task_ids[0], len(piece))
            return end is None or file.tell() >= end


@contextmanager
def _progress(name: str, begin: int, end: int | None) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = get_console()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        shown.add_task(f"downloading {name}", completed=begin, total=end)
        yield shown
