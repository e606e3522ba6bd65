"""The setting of a measurement: runtime, device, threads, batch size and precision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """Setting of a measurement.

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
