"""Measuring: with which setting, on which device. How is `elastic.protocol`'s business, with what `runtimes`'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from elastic.errors import ProfileError
from elastic.protocol import Run, Timing, describe_device, time_runs
from elastic.runtimes import RUNTIMES, torch_threads

__all__ = ["Run", "Setting", "Timing", "fingerprint", "prepare", "time_runs", "torch_threads"]


@dataclass(frozen=True)
class Setting:
    """What a measurement was made with.

    Attributes:
        runtime: `"torch"` (eager), `"torch.compile"`, `"onnxruntime"` or `"openvino"`.
        device: `"cpu"` or `"cuda"`.
        threads: threads within an operator, on the CPU.
        batch_size: inputs per forward pass.
        precision: `"float32"`; `"bfloat16"` with PyTorch and openvino; `"float16"` with PyTorch.
    """

    runtime: str = "torch"
    device: str = "cpu"
    threads: int = 1
    batch_size: int = 1
    precision: str = "float32"

    def check(self) -> None:
        """Check that this can be measured here.

        Raises:
            ProfileError: an unknown runtime or precision, a device that isn't there, counts below 1.
            ExportError: the runtime isn't installed.
        """
        if self.runtime not in RUNTIMES:
            raise ProfileError(f"no runtime {self.runtime!r}; choose one of {', '.join(RUNTIMES)}")
        runtime = RUNTIMES[self.runtime]
        if self.precision not in runtime.precisions:
            wanted = " or ".join(runtime.precisions)
            raise ProfileError(f"{self.runtime} can't measure {self.precision!r}; choose {wanted}")
        if min(self.threads, self.batch_size) < 1:
            raise ProfileError(f"threads ({self.threads}) and batch size ({self.batch_size}) must be 1 or more")
        if self.device not in runtime.devices:
            wanted = " or ".join(runtime.devices)
            raise ProfileError(f"no device {self.device!r} with {self.runtime}; choose {wanted}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ProfileError("device cuda isn't there: PyTorch sees no GPU; use device cpu")
        runtime.require()


def prepare(model: nn.Module, inputs: Sequence[Tensor], setting: Setting) -> Run:
    """A forward pass of `model` (in eval mode) on `inputs`, ready to be timed."""
    return prepare_all([(model, inputs)], setting)[0]


def prepare_all(given: Sequence[tuple[nn.Module, Sequence[Tensor]]], setting: Setting) -> list[Run]:
    """The same for several models, each with its inputs."""
    return RUNTIMES[setting.runtime].prepare(given, setting)


def fingerprint(setting: Setting) -> dict[str, Any]:
    """What this device is: processor, cores, system, versions of the runtime and of PyTorch, date."""
    found = describe_device()
    if setting.device == "cuda":
        found["processor"] = torch.cuda.get_device_name()
    return {**found, "torch": torch.__version__, **RUNTIMES[setting.runtime].versions}
