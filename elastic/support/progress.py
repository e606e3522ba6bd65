"""Progress bars, and words, for what takes longer than a blink."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def progress_bar(title: str, total: int, show: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar of `total` steps; yields the function that advances it by some of them."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), disable=not show) as progress:
        task = progress.add_task(title, total=total)
        yield lambda steps: progress.advance(task, steps)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Within the block, what is being done stands on standard error, where that is a terminal; nothing stays there.

    Args:
        what: such as "loading PyTorch".
    """
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(f"{what} …"):
        yield
