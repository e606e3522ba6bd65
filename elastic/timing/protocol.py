"""The protocol of measuring. It needs numpy and two files of `elastic.support` only: a kit takes them along.

Every candidate is visited in rounds, in an order drawn anew each round, so that a machine that slows down slows
all of them alike. A visit warms up, which brings the weights back into the caches, and then times single runs
for a millisecond; its time is their median, which an interruption doesn't move. Rounds go on until the median
over a candidate's visits is sure enough or the time is up. Candidates are timed in groups; one reference is
timed again in each: what it takes is the group's pace, which medians are put right by.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from elastic.support.journal import Journal

Run = Callable[[], object]
"""One forward pass; it returns once the result is there."""

Advance = Callable[[int], object]
"""Told how many more candidates are timed."""

TOGETHER = 16
"""So many candidates are in memory, and timed against each other, at once."""

_WARM_UP, _VISIT = 0.5e-3, 1e-3
"""Seconds of a visit, without and with the clock; one run at least."""

_FEWEST_ROUNDS, _JUDGED_ROUNDS, _MOST_ROUNDS = 5, 10, 200
"""Rounds that are made whatever the time; from which on a median may be sure; and after which it is enough."""


# --- one time -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """Raw times of one forward pass, one per visit.

    Attributes:
        milliseconds: times of one forward pass; 200 at most.
        pace: slowness of the machine meanwhile: the reference's time then, over its median in the session.
    """

    milliseconds: tuple[float, ...]
    pace: float = 1.0

    @cached_property
    def median_ms(self) -> float:
        """The median at the session's usual pace, in milliseconds."""
        return float(np.median(self.milliseconds)) / self.pace

    @cached_property
    def iqr_ms(self) -> float:
        """The interquartile range at the same pace, in milliseconds."""
        low, high = np.percentile(self.milliseconds, [25, 75])
        return float(high - low) / self.pace

    @property
    def runs(self) -> int:
        """Number of times."""
        return len(self.milliseconds)

    @property
    def uncertainty(self) -> float:
        """Half-width of the median's 95 % interval, relative to it: 1.57 · IQR / √n (McGill, Tukey, Larsen 1978)."""
        return 1.57 * self.iqr_ms / math.sqrt(self.runs) / self.median_ms

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Timing:
        """Times rounded to five digits, which no clock reaches."""
        return cls(tuple(float(f"{one:.5g}") for one in milliseconds))


def time_runs(runs: Sequence[Run], seconds: float, tolerance: float = 0.02, seed: int = 0) -> list[Timing]:
    """Time several forward passes against each other.

    Args:
        runs: what to time.
        seconds: start no further round after this; a few rounds are always made.
        tolerance: a run whose relative uncertainty is below this isn't visited any more.
        seed: draws the order of visits.
    """
    rng = np.random.default_rng(seed)
    raw: list[list[float]] = [[] for _ in runs]
    deadline = time.perf_counter() + seconds
    waiting, rounds = list(range(len(runs))), 0
    while waiting and rounds < _MOST_ROUNDS and (rounds < _FEWEST_ROUNDS or time.perf_counter() < deadline):
        for at in rng.permutation(waiting):
            raw[at].append(_visit(runs[at]))
        rounds += 1
        if rounds >= _JUDGED_ROUNDS:
            waiting = [at for at in waiting if Timing(tuple(raw[at])).uncertainty > tolerance]
    return [Timing.of(times) for times in raw]


def _visit(run: Run) -> float:
    _repeat(run, _WARM_UP)
    return float(np.median(_repeat(run, _VISIT))) / 1e6


def _repeat(run: Run, seconds: float) -> list[int]:
    """Nanoseconds of each run that fits into `seconds`; at least one run."""
    times: list[int] = []
    now = time.perf_counter_ns()
    end = now + int(seconds * 1e9)
    while now < end:
        start = time.perf_counter_ns()
        run()
        now = time.perf_counter_ns()
        times.append(now - start)
    return times


# --- what else goes on --------------------------------------------------------------------------------------


class OtherLoad:
    """Measures the load of other processes on the processors that this one may use, from now on."""

    def __init__(self) -> None:
        self._before = _processor_seconds()

    def share(self) -> float:
        """Share of processor time that other processes took, 0 to 1; 0 if the system doesn't tell."""
        others, total = (now - before for now, before in zip(_processor_seconds(), self._before, strict=True))
        return round(min(max(others / total, 0.0), 1.0), 3) if total > 0 else 0.0


def _processor_seconds() -> tuple[float, float]:
    """Processor time so far: taken by others, and all there was, idle time included."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0, 0.0
    rows = (line.split() for line in stat.read_text("ascii").splitlines())
    names = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    # user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user
    times = np.array([row[1:9] for row in rows if row[0] in names], float).sum(axis=0) / os.sysconf("SC_CLK_TCK")
    own = sum(os.times()[:2])
    return float(times.sum() - times[3:5].sum() - own), float(times.sum())


def describe_device() -> dict[str, Any]:
    """Processor, cores, system, Python's version, date."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "processor": _processor(),
        "cores": cores,
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor() -> str:
    info, board = Path("/proc/cpuinfo"), Path("/proc/device-tree/model")  # ARM boards say what they are, not who made
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    if not names and board.exists():
        names = [board.read_text("utf-8").strip("\0\n ")]
    return names[0] if names else platform.processor() or platform.machine()


# --- many times, and an interruption -----------------------------------------------------------------------


def measurement_journal(path: Path | None, header: Mapping[str, Any], error: type[BaseException]) -> Journal:
    """The journal of a measurement: an entry per group of candidates, in the order of measuring.

    Args:
        path: its file; None keeps everything in memory.
        header: what the measurement is.
        error: the class of the errors raised.

    Raises:
        error: the file is another measurement's, or something else.
    """
    header = {"kind": "elastic measurement, unfinished", **header}
    cure = "finish that one with its own options, or remove the file"
    return Journal(path, header, error, "an unfinished measurement", cure)


def timed_keys(journal: Journal) -> set[str]:
    """The candidates that a measurement has timed."""
    return {key for group in journal.entries for key in group["timings"]}


def journal_path(out: Path) -> Path:
    """Path of the journal that holds the measurements until `out` is written."""
    return out.with_name(f"{out.name}.partial.jsonl")


def measure_groups(
    keys: Sequence[str],
    prepare: Callable[[Sequence[str]], Sequence[Run]],
    reference: Run,
    journal: Journal,
    *,
    seconds: float,
    tolerance: float,
    seed: int,
    together: int = TOGETHER,
    advance: Advance = lambda steps: None,
) -> None:
    """Time every candidate that isn't in the journal yet, a group at a time; which is in which group is drawn.

    Args:
        keys: the candidates' names.
        prepare: makes candidates ready to be timed.
        reference: timed with every group.
        journal: where the times go.
        seconds: of timing all `keys`; preparing comes on top.
        tolerance: as for `time_runs`.
        seed: draws groups and orders.
        together: candidates in a group.
        advance: told of progress.
    """
    done = timed_keys(journal)
    order = [keys[at] for at in np.random.default_rng(seed).permutation(len(keys)) if keys[at] not in done]
    advance(len(keys) - len(order))
    seconds *= len(order) / max(len(keys), 1)
    for start in range(0, len(order), together):
        group = order[start : start + together]
        runs = [reference, *prepare(group)]
        load, began = OtherLoad(), time.perf_counter()
        first, *timings = time_runs(runs, seconds * len(group) / (len(order) - start), tolerance, seed + start)
        times = {key: timing.milliseconds for key, timing in zip(group, timings, strict=True)}
        journal.add({"timings": times, "reference": first.milliseconds, "busy": load.share()})
        seconds = max(0.0, seconds - (time.perf_counter() - began))
        advance(len(group))
