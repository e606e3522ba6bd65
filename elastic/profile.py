"""A device profile: what subnets take on one device, measured, and from it a prediction for all others."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from elastic.arch import Arch
from elastic.errors import ProfileError
from elastic.latency import Floats, PredictionError, arch_features, cross_validate, fit_latency
from elastic.measure import Setting, Timing
from elastic.storage import digest_supernet, read_json, write_json
from elastic.supernet import Archs, Supernet

_KIND = "elastic device profile"
FEWEST = 8
"""Fewer measured subnets than this can't carry a prediction."""


@dataclass(frozen=True)
class SubnetTiming:
    """A whole subnet, measured."""

    arch: Arch
    timing: Timing


@dataclass(frozen=True)
class BlockTiming:
    """A part of a subnet, measured alone.

    Attributes:
        path: where it is in the full model.
        layer: its class.
        sizes: its active sizes, by name.
        shapes: shape of each of its inputs, the batch axis included.
        timing: what it takes.
    """

    path: str
    layer: str
    sizes: dict[str, int]
    shapes: tuple[tuple[int, ...], ...]
    timing: Timing


@dataclass(frozen=True)
class DeviceProfile:
    """Measurements of one supernet's subnets on one device; made by `elastic.measure_profile`.

    Attributes:
        setting: runtime, device, threads, batch size, precision.
        device: the device's fingerprint: processor, system, versions, date.
        supernet: digest of the supernet that was measured.
        subnets: whole subnets, raw figures.
        blocks: their parts, raw figures.
    """

    setting: Setting
    device: dict[str, Any]
    supernet: str
    subnets: tuple[SubnetTiming, ...]
    blocks: tuple[BlockTiming, ...] = ()
    _fitted: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    # --- prediction -----------------------------------------------------------------------------------------

    def latency_ms(self, supernet: Supernet, archs: Archs) -> Floats:
        """Predicted latency of one forward pass of a whole batch: milliseconds, float64 `(n,)`.

        Raises:
            ProfileError: the profile is another supernet's, or too few subnets were measured.
            ArchError: an arch that isn't in the space.
        """
        self.check_supernet(supernet)
        if "model" not in self._fitted:
            self._fitted["model"] = fit_latency(self._features(supernet), self.measured_ms)
        predicted = self._fitted["model"].predict(arch_features(supernet, supernet._rows(archs)))
        floor = self.measured_ms.min() / 2  # a linear fit may go below zero far from what was measured
        latency: Floats = np.maximum(predicted, floor)
        return latency

    def prediction_error(self, supernet: Supernet) -> PredictionError:
        """How far predictions are from measurements that they weren't fitted on.

        Raises:
            ProfileError: as for `latency_ms`.
        """
        self.check_supernet(supernet)
        return cross_validate(self._features(supernet), self.measured_ms)

    @cached_property
    def measured_ms(self) -> Floats:
        """The measured medians, in the order of `subnets`."""
        return np.array([one.timing.median_ms for one in self.subnets])

    def _features(self, supernet: Supernet) -> Floats:
        if len(self.subnets) < FEWEST:
            raise ProfileError(
                f"a prediction needs {FEWEST} measured subnets or more, this profile has {len(self.subnets)}; "
                "profile again with a higher --subnets"
            )
        return arch_features(supernet, supernet.space.encode([one.arch for one in self.subnets]))

    def check_supernet(self, supernet: Supernet) -> None:
        """Check that the profile was measured on this supernet's architecture; weights don't matter.

        Raises:
            ProfileError: it wasn't.
        """
        digest = digest_supernet(supernet)
        if digest != self.supernet:
            raise ProfileError(
                f"the profile was measured on supernet {self.supernet}, this one is {digest}: other dims or shapes; "
                "measure it with `elastic profile`"
            )

    # --- files ----------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the profile as one JSON file, whole or not at all."""
        values = {
            "kind": _KIND,
            "setting": asdict(self.setting),
            "device": self.device,
            "supernet": self.supernet,
            "subnets": [{"arch": dict(one.arch), **asdict(one.timing)} for one in self.subnets],
            "blocks": [_flat(one) for one in self.blocks],
        }
        return write_json(path, values)

    @classmethod
    def load(cls, path: str | Path) -> DeviceProfile:
        """The profile that `save` wrote.

        Raises:
            ProfileError: a file that is missing, truncated or something else.
        """
        values = read_json(path, ProfileError, "a device profile (elastic profile writes one)")
        if values.get("kind") != _KIND:
            raise ProfileError(f"{path} isn't a device profile: its kind is {values.get('kind')!r}, wanted {_KIND!r}")
        try:
            return cls(
                setting=Setting(**values["setting"]),
                device=dict(values["device"]),
                supernet=str(values["supernet"]),
                subnets=tuple(SubnetTiming(Arch(one["arch"]), _timing(one)) for one in values["subnets"]),
                blocks=tuple(_block(one) for one in values["blocks"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ProfileError(f"{path} is a broken device profile ({error!r}); measure again") from error


def _timing(values: dict[str, Any]) -> Timing:
    timing = Timing(float(values["median_ms"]), float(values["iqr_ms"]), int(values["runs"]))
    if not (timing.median_ms > 0 and timing.iqr_ms >= 0 and timing.runs > 0):
        raise ValueError(f"a timing of {timing}")
    return timing


def _flat(block: BlockTiming) -> dict[str, Any]:
    values = asdict(block)
    timing = values.pop("timing")
    return {**values, **timing}


def _block(values: dict[str, Any]) -> BlockTiming:
    shapes = tuple(tuple(shape) for shape in values["shapes"])
    return BlockTiming(values["path"], values["layer"], dict(values["sizes"]), shapes, _timing(values))
