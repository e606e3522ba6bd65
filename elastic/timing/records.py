"""What a device profile is made of: timed subnets and blocks, how quiet the device was, and checks made later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elastic.space.arch import Arch
from elastic.space.sizes import Number
from elastic.timing.protocol import Timing

_MOST_NOISY, _MOST_DRIFT, _MOST_BUSY = 0.1, 0.1, 0.1
"""From which share of unsure medians, of drift, and of processor time that others take, a measurement isn't good."""

QUIET = "Close other programs and measure again, for longer (--time_limit), or accept it (--accept_noise true)"
"""The cure of a noisy measurement."""


@dataclass(frozen=True)
class SubnetTiming:
    """A whole subnet, measured."""

    arch: Arch
    timing: Timing

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"arch": dict(self.arch), **_written(self.timing)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SubnetTiming:
        """What `to_dict` gave."""
        return cls(Arch(values["arch"]), read_timing(values["milliseconds"], values.get("pace", 1.0)))


@dataclass(frozen=True)
class BlockTiming:
    """A part of subnets, measured alone.

    Attributes:
        signature: names it; equal parts have the same, wherever they are (`elastic.profiles.blocks`).
        path: where one of them is in the full model.
        layer: its class.
        values: the dims it depends on, as they are there.
        shapes: shape of each of its inputs, the batch axis included.
        timing: what it takes.
    """

    signature: str
    path: str
    layer: str
    values: dict[str, Number]
    shapes: tuple[tuple[int, ...], ...]
    timing: Timing

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        described = {name: getattr(self, name) for name in ("signature", "path", "layer", "values", "shapes")}
        return {**described, **_written(self.timing)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BlockTiming:
        """What `to_dict` gave."""
        signature, path, layer = (str(values[name]) for name in ("signature", "path", "layer"))
        shapes = tuple(tuple(shape) for shape in values["shapes"])
        timing = read_timing(values["milliseconds"], values.get("pace", 1.0))
        return cls(signature, path, layer, dict(values["values"]), shapes, timing)


@dataclass(frozen=True)
class Conditions:
    """How quiet the device was.

    Attributes:
        tolerance: a median is sure if its 95 % interval is narrower than ± this, relative.
        references: the same run, timed again with each group of measurements, in the order of time.
        busy: for each group, the part of the processor time that other processes took, 0 to 1.
    """

    tolerance: float = 0.02
    references: tuple[Timing, ...] = ()
    busy: tuple[float, ...] = ()

    @property
    def drift(self) -> float:
        """How far the reference's medians lie apart, relative to their median; 0 where there are none."""
        return float(np.ptp(self._medians) / np.median(self._medians)) if self.references else 0.0

    @property
    def others(self) -> float:
        """The part of the processor time that other processes took in all, 0 to 1."""
        return float(np.mean(self.busy)) if self.busy else 0.0

    def noisy(self, timings: Sequence[Timing]) -> float:
        """The part of these timings that isn't sure, 0 to 1."""
        return float(np.mean([timing.uncertainty > self.tolerance for timing in timings])) if timings else 0.0

    def objections(self, timings: Sequence[Timing]) -> list[str]:
        """What speaks against trusting timings made under these conditions; nothing if they are good."""
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

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        references = [list(timing.milliseconds) for timing in self.references]
        return {"tolerance": self.tolerance, "busy": list(self.busy), "references": references}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Conditions:
        """What `to_dict` gave."""
        references = tuple(read_timing(one) for one in values["references"])
        return cls(float(values["tolerance"]), references, tuple(map(float, values["busy"])))

    @classmethod
    def of(cls, groups: Sequence[Mapping[str, Any]], tolerance: float) -> Conditions:
        """Those of a journal's groups (`elastic.timing.protocol`)."""
        references = tuple(read_timing(group["reference"]) for group in groups)
        return cls(tolerance, references, tuple(float(group["busy"]) for group in groups))

    @property
    def paces(self) -> tuple[float, ...]:
        """Of each group: what the reference took in it, over its median of the session."""
        usual = np.median(self._medians) if self.references else 1.0
        return tuple(round(float(median / usual), 4) for median in self._medians)

    @property
    def _medians(self) -> list[float]:
        return [timing.median_ms for timing in self.references]


@dataclass(frozen=True)
class ProfileCheck:
    """Predictions of a profile against subnets measured afterwards, none of them among the profile's.

    Attributes:
        subnets: what was measured.
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
        """Mean absolute error, relative to the measured figure, in percent."""
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
        """What speaks against trusting the measured figures; nothing if they are good."""
        return self.conditions.objections([one.timing for one in self.subnets])

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; what follows from the rest is there for those who read the file."""
        return {
            "date": self.date,
            "mape": round(self.mape, 3),
            "tau": round(self.tau, 4),
            "coverage": round(self.coverage, 4),
            "nominal": self.nominal,
            "conditions": self.conditions.to_dict(),
            "predicted_ms": list(self.predicted_ms),
            "interval_ms": [list(one) for one in self.interval_ms],
            "subnets": [one.to_dict() for one in self.subnets],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ProfileCheck:
        """What `to_dict` gave."""
        return cls(
            tuple(SubnetTiming.from_dict(one) for one in values["subnets"]),
            tuple(map(float, values["predicted_ms"])),
            tuple((float(low), float(high)) for low, high in values["interval_ms"]),
            float(values["nominal"]),
            Conditions.from_dict(values["conditions"]),
            str(values["date"]),
        )


def _written(timing: Timing) -> dict[str, Any]:
    return {"milliseconds": list(timing.milliseconds), "pace": timing.pace}


def read_timing(milliseconds: Sequence[Any], pace: float = 1.0) -> Timing:
    """A timing from a file.

    Raises:
        ValueError: no figures, or one that isn't above 0.
    """
    timing = Timing(tuple(map(float, milliseconds)), float(pace))
    if not (timing.milliseconds and all(0 < figure < np.inf for figure in (*timing.milliseconds, timing.pace))):
        raise ValueError(f"a timing of {timing.milliseconds[:3]}… ms at pace {timing.pace}")
    return timing
