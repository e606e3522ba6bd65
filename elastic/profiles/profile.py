"""A device profile: measured latencies of some subnets on one device, and predictions for all others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from elastic.errors import ProfileError
from elastic.prediction.predictor import FEWEST, PredictionError, Predictor
from elastic.profiles.block_table import TableFeatures
from elastic.profiles.blocks import Block
from elastic.profiles.fit_latency import fit_latency, named_blocks, sum_blocks
from elastic.space.space import Archs, Floats, ManyArchs, OneArch, Rows
from elastic.supernet.folder import check_digest
from elastic.supernet.supernet import Supernet
from elastic.support.files import write_text
from elastic.support.records import read_record, to_plain
from elastic.timing.protocol import Timing
from elastic.timing.records import BlockTiming, Conditions, ProfileCheck, SubnetTiming
from elastic.timing.setting import Setting

__all__ = ["FEWEST", "DeviceProfile"]

_NAME = "device profile"


@dataclass(frozen=True, repr=False)
class DeviceProfile:
    """Measurements of one supernet's subnets on one device; made by `elastic.measure_profile`.

    Attributes:
        setting: runtime, device, threads, batch size, precision.
        device: the device's fingerprint: processor, system, versions, date.
        supernet: digest of the supernet that was measured.
        subnets: raw timings of whole subnets.
        blocks: raw timings of all their blocks; empty where there are too many different ones.
        resolutions: the measured ones; empty: all of the supernet's.
        conditions: how quiet the device was.
        checks: predictions against subnets measured later.
    """

    setting: Setting
    device: dict[str, Any]
    supernet: str
    subnets: tuple[SubnetTiming, ...]
    blocks: tuple[BlockTiming, ...] = ()
    resolutions: tuple[int, ...] = ()
    conditions: Conditions = field(default_factory=Conditions)
    checks: tuple[ProfileCheck, ...] = ()

    def __repr__(self) -> str:
        """One line: what was measured, where, and whether it is to be trusted."""
        where = f"{self.setting.runtime} on {self.device.get('processor', self.setting.device)}"
        measured = f"{len(self.subnets)} subnets and {len(self.blocks)} blocks"
        return f"DeviceProfile({where}: {measured}{'' if self.good else '; not to be trusted, see .objections'})"

    # --- how far to trust it --------------------------------------------------------------------------------

    @property
    def noisy(self) -> float:
        """The share of timings whose median is uncertain, 0 to 1."""
        return self.conditions.noisy(self._timings)

    @property
    def objections(self) -> list[str]:
        """Reasons not to trust the timings; empty if they are good."""
        return self.conditions.objections(self._timings)

    @property
    def good(self) -> bool:
        """True if the device was quiet enough for the timings to be trusted."""
        return not self.objections

    def with_check(self, check: ProfileCheck) -> DeviceProfile:
        """The same profile with one more check."""
        return replace(self, checks=(*self.checks, check))

    @property
    def _timings(self) -> list[Timing]:
        return [*(one.timing for one in self.subnets), *(one.timing for one in self.blocks)]

    # --- prediction -----------------------------------------------------------------------------------------

    def predictor(self, supernet: Supernet, kind: str = "auto") -> Predictor:
        """Predicts the latency of encoded archs; fitted when it is first asked for.

        Args:
            supernet: the one that was measured.
            kind: a regression (see `elastic.profiles.fit_latency.fit_latency`); the best one by default.

        Raises:
            ProfileError: the profile is another supernet's, or has too little of what the kind needs.
        """
        self.check_supernet(supernet)
        if kind not in self._fitted:
            archs = [one.arch for one in self.subnets]
            sums = (lambda: self._sums(supernet)) if self.blocks else None
            self._fitted[kind] = fit_latency(supernet, archs, self.measured_ms, sums, kind)
        fitted: Predictor = self._fitted[kind]
        return fitted

    def keep_blocks(self, blocks: tuple[Block, ...]) -> None:
        """Set the supernet's blocks where they are known already, which saves finding them."""
        self._fitted["blocks"] = blocks

    def _sums(self, supernet: Supernet) -> TableFeatures:
        """The sums of measured blocks."""
        milliseconds = {one.signature: one.timing.median_ms for one in self.blocks}
        if "blocks" not in self._fitted:
            self.keep_blocks(named_blocks(supernet, milliseconds, self.resolutions))
        return sum_blocks(supernet, self._fitted["blocks"], milliseconds, self.resolutions)

    @overload
    def latency_ms(self, supernet: Supernet, archs: OneArch) -> float: ...
    @overload
    def latency_ms(self, supernet: Supernet, archs: ManyArchs) -> Floats: ...
    def latency_ms(self, supernet: Supernet, archs: Archs) -> float | Floats:
        """Predicted latency of one forward pass of a whole batch, in milliseconds.

        Args:
            supernet: the one that was measured.
            archs: one arch; or several, as a sequence or as encoded rows `(n, dims)`.

        Returns:
            A float for one arch, float64 `(n,)` for several.

        Raises:
            ProfileError: the profile is another supernet's, or too few subnets were measured.
            ArchError: an arch that isn't in the space.
        """
        found = self.predictor(supernet)(supernet.space.rows(archs))
        return float(found[0]) if isinstance(archs, (str, Mapping)) else found

    def covers(self, supernet: Supernet, rows: Rows) -> NDArray[np.bool_]:
        """Mask of the encoded archs whose resolution was measured: bool `(n,)`."""
        if not self.resolutions:
            return np.ones(len(rows), bool)
        sides = supernet.space.values(rows)["resolution"]
        return np.isin(sides, self.resolutions)

    def latency_interval(self, supernet: Supernet, archs: Archs, coverage: float = 0.9) -> tuple[Floats, Floats]:
        """Bounds that hold a measurement with probability `coverage`: milliseconds, `(n,)` each, also for one arch.

        Conformal (see `elastic.prediction.predictor.Predictor.interval`); infinite where too few subnets were measured.

        Raises:
            ProfileError: as for `latency_ms`, or a coverage that isn't between 0 and 1.
            ArchError: an arch that isn't in the space.
        """
        return self.predictor(supernet).interval(supernet.space.rows(archs), coverage)

    def prediction_error(self, supernet: Supernet) -> PredictionError:
        """The cross-validated error of predictions.

        Raises:
            ProfileError: as for `latency_ms`.
        """
        return self.predictor(supernet).error

    @cached_property
    def _fitted(self) -> dict[str, Any]:
        """Predictors by kind, and the supernet's blocks."""
        return {}

    @cached_property
    def measured_ms(self) -> Floats:
        """The measured medians, in the order of `subnets`."""
        return np.array([one.timing.median_ms for one in self.subnets])

    def check_supernet(self, supernet: Supernet) -> None:
        """Check that the profile was measured on this supernet's architecture; weights don't matter.

        Raises:
            ProfileError: it wasn't.
        """
        cure = "measure it with `elastic profile`"
        check_digest(supernet, self.supernet, ProfileError, "the profile was measured on", cure)

    # --- files ----------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the profile as one JSON file, atomically."""
        values = {"kind": f"elastic {_NAME}", "good": self.good, **to_plain(self)}
        values["checks"] = [one.to_dict() for one in self.checks]
        return write_text(path, _lines(values))

    @classmethod
    def load(cls, path: str | Path) -> DeviceProfile:
        """The profile that `save` wrote.

        Raises:
            ProfileError: a file that is missing, truncated or something else.
        """
        return read_record(path, cls, _NAME, "elastic profile", ProfileError)


def _lines(values: Mapping[str, Any]) -> str:
    """JSON with a line for each key, and for each item of a list of objects: raw timings stay side by side."""
    fields = []
    for key, value in values.items():
        text = json.dumps(value)
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            text = "[\n" + ",\n".join(f"  {json.dumps(one)}" for one in value) + "\n ]"
        fields.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(fields) + "\n}\n"
