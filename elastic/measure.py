"""Measuring: how long a forward pass takes, on which runtime, and how sure the figure is.

Every candidate is visited in rounds, in an order drawn anew each round, so that a machine that slows down
slows all of them alike. A visit is one untimed run, which brings the weights back into the caches, and a few
timed ones. Rounds go on until the median of each candidate is narrow or the time is up.
"""

from __future__ import annotations

import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elastic.errors import ProfileError
from elastic.onnx_files import open_onnx, require_onnx, write_onnx

Run = Callable[[], object]
"""One forward pass; it returns once the result is there."""

_PER_VISIT = 4
_FIRST_ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """How long one thing takes.

    Attributes:
        median_ms: median, in milliseconds.
        iqr_ms: the interquartile range, in milliseconds.
        runs: how often it was timed.
    """

    median_ms: float
    iqr_ms: float
    runs: int

    @property
    def uncertainty(self) -> float:
        """Half-width of the median's 95 % interval, relative to it: 1.57 · IQR / √n (McGill, Tukey, Larsen 1978)."""
        return 1.57 * self.iqr_ms / math.sqrt(self.runs) / self.median_ms

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Timing:
        """The summary of raw figures."""
        low, median, high = np.percentile(milliseconds, [25, 50, 75])
        return cls(round(float(median), 6), round(float(high - low), 6), len(milliseconds))


@dataclass(frozen=True)
class Setting:
    """What a measurement was made with.

    Attributes:
        runtime: `"torch"` (eager) or `"onnxruntime"`.
        device: `"cpu"` or `"cuda"`.
        threads: threads within an operator, on the CPU.
        batch_size: inputs per forward pass.
        precision: `"float32"`, or `"float16"` or `"bfloat16"` with torch.
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
            ExportError: onnxruntime isn't installed.
        """
        if self.runtime not in _PREPARE:
            raise ProfileError(f"no runtime {self.runtime!r}; choose one of {', '.join(_PREPARE)}")
        precisions = ("float32", "float16", "bfloat16") if self.runtime == "torch" else ("float32",)
        if self.precision not in precisions:
            raise ProfileError(f"{self.runtime} can't measure {self.precision!r}; choose {' or '.join(precisions)}")
        if min(self.threads, self.batch_size) < 1:
            raise ProfileError(f"threads ({self.threads}) and batch size ({self.batch_size}) must be 1 or more")
        if self.device not in ("cpu", "cuda"):
            raise ProfileError(f"no device {self.device!r}; choose cpu or cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ProfileError("device cuda isn't there: PyTorch sees no GPU; use device cpu")
        if self.runtime == "onnxruntime":
            require_onnx()


def prepare(model: nn.Module, inputs: Sequence[Tensor], setting: Setting) -> Run:
    """A forward pass of `model` (in eval mode) on `inputs`, ready to be timed."""
    return _PREPARE[setting.runtime](model, inputs, setting)


def _prepare_torch(model: nn.Module, inputs: Sequence[Tensor], setting: Setting) -> Run:
    dtype = getattr(torch, setting.precision)
    model = model.to(setting.device, dtype)
    given = [value.to(setting.device, dtype if value.is_floating_point() else None) for value in inputs]

    def run() -> None:
        with torch.inference_mode():
            model(*given)
        if setting.device == "cuda":
            torch.cuda.synchronize()

    return run


def _prepare_onnxruntime(model: nn.Module, inputs: Sequence[Tensor], setting: Setting) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(model, inputs, path, any_batch=False)
        session = open_onnx(path, setting.threads, setting.device)
    names = [one.name for one in session.get_inputs()]
    feeds = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    return lambda: session.run(None, feeds)


_PREPARE: dict[str, Callable[[nn.Module, Sequence[Tensor], Setting], Run]] = {
    "torch": _prepare_torch,
    "onnxruntime": _prepare_onnxruntime,
}


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Within the block PyTorch uses so many threads; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    while waiting and (rounds < _FIRST_ROUNDS or time.perf_counter() < deadline):
        for at in rng.permutation(waiting):
            raw[at] += _visit(runs[at])
        rounds += 1
        if rounds >= _FIRST_ROUNDS:
            waiting = [at for at in waiting if Timing.of(raw[at]).uncertainty > tolerance]
    return [Timing.of(figures) for figures in raw]


def _visit(run: Run) -> list[float]:
    run()
    figures = []
    for _ in range(_PER_VISIT):
        start = time.perf_counter_ns()
        run()
        figures.append((time.perf_counter_ns() - start) / 1e6)
    return figures


def fingerprint(setting: Setting) -> dict[str, Any]:
    """What this device is: processor, cores, system, versions of the runtime and of PyTorch, date."""
    found: dict[str, Any] = {
        "processor": _gpu_name() if setting.device == "cuda" else _cpu_name(),
        "cores": _cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if setting.runtime == "onnxruntime":
        from importlib.metadata import version

        found["onnxruntime"] = version("onnxruntime")
    return found


def _gpu_name() -> str:
    return torch.cuda.get_device_name()


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
