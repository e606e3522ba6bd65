"""Downloads into a cache, each file once, and checked."""

from __future__ import annotations

import os
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError

from filelock import FileLock
from torch import hub

from elastic.errors import CheckpointError
from elastic.support.files import sha256
from zoo.published.load import read_state_dict

_VARIABLE = "ELASTIC_CACHE"


def cache_folder() -> Path:
    """The folder of downloads: `$ELASTIC_CACHE`, or a folder in PyTorch's own cache (see `torch.hub`)."""
    chosen = os.environ.get(_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(hub.get_dir()).parent / "elastic"


def download(url: str, name: str, digest: str | None = None, size: int | None = None) -> Path:
    """The file behind `url`, from the cache where it is there; the network isn't asked then.

    Several processes may ask at once: one downloads, the others wait for it. `NAME` is only ever a whole file.

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
        try:
            hub.download_url_to_file(url, str(part), progress=sys.stderr.isatty())
        except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
            raise CheckpointError(
                f"can't download {url}: {_reason(error)}. Without a network, get the file elsewhere and put it at "
                f"{path}"
            ) from error
        objection = _objection(part, digest, size)
        if objection is not None:
            part.unlink()
            raise CheckpointError(
                f"{url} isn't the file that was published: {objection}. It was deleted; download it again, and if that "
                f"doesn't help, get it elsewhere and put it at {path}"
            )
        part.replace(path)
    return path


def _reason(error: Exception) -> str:
    """Why a download failed."""
    if isinstance(error, HTTPError):
        return f"the server says {error.code} {error.reason}"
    return str(getattr(error, "reason", error)) or type(error).__name__


def _objection(path: Path, digest: str | None, size: int | None) -> str | None:
    """The defect of a downloaded file; None if there is none."""
    given = path.stat().st_size
    if size is not None and given != size:
        return f"it has {given} bytes, wanted {size}"
    if digest is None:
        return _unreadable(path)
    found = sha256(path)
    return None if found == digest else f"its SHA-256 is {found}, wanted {digest}"


def _unreadable(path: Path) -> str | None:
    """Why it isn't one of Once-for-All's files, the only ones without a known digest; None if it is."""
    try:
        read_state_dict(path)
    except CheckpointError:
        return "it is no PyTorch file with a state_dict, or a truncated one"
    return None
