"""The parts of a device profile: timed subnets and blocks, how quiet the device was, and checks made later.

As JSON, each is an object with a key for each field (`elastic.support.records`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from elastic.space.arch import Arch
from elastic.space.sizes import Number
from elastic.support.records import to_plain
from elastic.timing.protocol import Timing

Positive = Annotated[float, Meta(gt=0, le=float(np.finfo(np.float64).max))]
"""A number above 0, and not infinite."""

Milliseconds = Annotated[tuple[Positive, ...], Meta(min_length=1)]
"""Raw timings of one thing."""

_MOST_NOISY, _MOST_DRIFT, _MOST_BUSY = 0.1, 0.1, 0.1
"""A measurement with larger shares of uncertain medians, drift, or processor time of others isn't good."""

QUIET = "Close other programs and measure again, for longer (--time_limit), or accept it (--accept_noise true)"
"""The cure of a noisy measurement."""


class _Measured:
    """Base of timed subnets and blocks: dataclasses with these fields."""

    milliseconds: Milliseconds
    pace: Positive

    @cached_property
    def timing(self) -> Timing:
        """Statistics of its times."""
        return Timing(self.milliseconds, self.pace)


@dataclass(frozen=True)
class SubnetTiming(_Measured):
    """A whole subnet, measured.

    Attributes:
        arch: which subnet.
        milliseconds: raw timings.
        pace: how slow the machine was meanwhile (`elastic.timing.protocol.Timing`).
    """

    arch: Arch
    milliseconds: Milliseconds
    pace: Positive = 1.0


@dataclass(frozen=True)
class BlockTiming(_Measured):
    """A block of subnets, measured alone.

    Attributes:
        signature: names it; equal blocks have the same, wherever they are (`elastic.profiles.blocks`).
        path: where one of them is in the full model.
        layer: its class.
        values: the values there of the dims that it depends on.
        shapes: shape of each of its inputs, the batch axis included.
        milliseconds: raw timings.
        pace: how slow the machine was meanwhile (`elastic.timing.protocol.Timing`).
    """

    signature: str
    path: str
    layer: str
    values: dict[str, Number]
    shapes: tuple[tuple[int, ...], ...]
    milliseconds: Milliseconds
    pace: Positive = 1.0


@dataclass(frozen=True)
class Conditions:
    """Conditions of a measurement: how quiet the device was.

    Attributes:
        tolerance: a median is sure if its 95 % interval is narrower than ± this, relative.
        references: raw timings of the same run, made again with each group of measurements, in the order of time.
        busy: for each group, the share of processor time that other processes took, 0 to 1.
    """

    tolerance: float = 0.02
    references: tuple[Milliseconds, ...] = ()
    busy: tuple[float, ...] = ()

    @property
    def drift(self) -> float:
        """Range of the reference's medians, relative to their median; 0 if there are none."""
        return float(np.ptp(self._medians) / np.median(self._medians)) if self.references else 0.0

    @property
    def others(self) -> float:
        """The share of processor time that other processes took, 0 to 1."""
        return float(np.mean(self.busy)) if self.busy else 0.0

    def noisy(self, timings: Sequence[Timing]) -> float:
        """The share of timings whose median is uncertain, 0 to 1."""
        return float(np.mean([timing.uncertainty > self.tolerance for timing in timings])) if timings else 0.0

    def objections(self, timings: Sequence[Timing]) -> list[str]:
        """Reasons not to trust timings made under these conditions; empty if they are good."""
        noisy, found = self.noisy(timings), []
        if noisy > _MOST_NOISY:
            found.append(f"{noisy:.0%} of the medians are less sure than ± {self.tolerance:.0%}")
        if self.drift > _MOST_DRIFT:
            found.append(f"the same run took from {self._range()} ms over the session")
        if self.others > _MOST_BUSY:
            found.append(f"other processes took {self.others:.0%} of the processors")
        return found

    def _range(self) -> str:
        return f"{min(self._medians):.3g} to {max(self._medians):.3g}"

    @classmethod
    def of(cls, groups: Sequence[Mapping[str, Any]], tolerance: float) -> Conditions:
        """The conditions of a journal's groups (`elastic.timing.protocol`)."""
        references = tuple(tuple(group["reference"]) for group in groups)
        return cls(tolerance, references, tuple(group["busy"] for group in groups))

    @property
    def paces(self) -> tuple[float, ...]:
        """For each group: the reference's median in it, over its median in the whole session."""
        usual = np.median(self._medians) if self.references else 1.0
        return tuple(round(float(median / usual), 4) for median in self._medians)

    @property
    def _medians(self) -> list[float]:
        return [float(np.median(milliseconds)) for milliseconds in self.references]


@dataclass(frozen=True)
class ProfileCheck:
    """Predictions of a profile compared with measurements of other subnets, made later.

    Attributes:
        subnets: the measured ones.
        predicted_ms: for each, the predicted latency.
        interval_ms: for each, the predicted interval.
        nominal: the share of subnets that should lie within theirs.
        conditions: how quiet the device was.
        date: when, in UTC.
    """

    subnets: tuple[SubnetTiming, ...]
    predicted_ms: tuple[float, ...]
    interval_ms: tuple[tuple[float, float], ...]
    nominal: float = 0.9
    conditions: Conditions = field(default_factory=Conditions)
    date: str = ""

    @property
    def measured_ms(self) -> NDArray[np.float64]:
        """The measured medians: float64 `(n,)`."""
        return np.array([one.timing.median_ms for one in self.subnets])

    @property
    def mape(self) -> float:
        """Mean absolute error, relative to the measured latency, in percent."""
        return float(np.mean(np.abs(np.array(self.predicted_ms) / self.measured_ms - 1)) * 100)

    @property
    def tau(self) -> float:
        """Kendall's rank correlation of predicted and measured."""
        from scipy.stats import kendalltau

        return float(kendalltau(self.predicted_ms, self.measured_ms).statistic)

    @property
    def coverage(self) -> float:
        """The share of subnets whose measured latency lies in the predicted interval, 0 to 1."""
        low, high = np.array(self.interval_ms).T
        return float(np.mean((low <= self.measured_ms) & (self.measured_ms <= high)))

    @property
    def objections(self) -> list[str]:
        """Reasons not to trust the measurements; empty if they are good."""
        return self.conditions.objections([one.timing for one in self.subnets])

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, with metrics for those who read the file; they are computed again when it is loaded."""
        metrics = {"mape": round(self.mape, 3), "tau": round(self.tau, 4), "coverage": round(self.coverage, 4)}
        return {**metrics, **to_plain(self)}
