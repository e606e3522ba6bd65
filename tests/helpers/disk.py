"""Disks that fail: full ones, and processes killed between two renames."""

import errno
import os
from pathlib import Path


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def contents(folder, files_only=False):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file() or not files_only}


class Killed(BaseException):
    """In the place of SIGKILL."""


def renames_that_end(monkeypatch, folder, after, error, forever=False):
    """So many renames into the folder work, the next one raises; or all from there on."""
    renames = []

    def ending(really):
        def rename(path, target):
            into = Path(target).parent == folder
            renames.extend([target] * into)
            if len(renames) > after and (forever or (into and len(renames) == after + 1)):
                raise error
            return really(path, target)

        return rename

    for name in ("rename", "replace"):
        monkeypatch.setattr(Path, name, ending(getattr(Path, name)))
    return renames
