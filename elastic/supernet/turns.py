"""A lock that copies and pickles of its owner have each for themselves."""

from __future__ import annotations

import threading
from typing import Any


class OwnLock:
    """A re-entrant lock: one thread at a time is within its block."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> OwnLock:
        """Wait until no other thread is within the block."""
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the next thread in."""
        self._lock.release()

    def __reduce__(self) -> tuple[type[OwnLock], tuple[Any, ...]]:
        """A copy is another lock, which nobody holds."""
        return OwnLock, ()
