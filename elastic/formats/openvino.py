"""OpenVINO's own files, made from the ONNX file: float32, any batch size and any length of text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elastic.formats.compare import Forward
from elastic.formats.format import Format, Original
from elastic.formats.onnx_files import require_onnx
from elastic.formats.ordered import names_and_values
from elastic.support.inputs import Inputs
from elastic.support.packages import require_packages

IMAGES = """\
import openvino

# left to itself it takes half precision where the processor can
model = openvino.compile_model("{file}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
logits = model(images)[0]  # float32 images
"""
TEXT = """\
import openvino

# left to itself it takes half precision where the processor can
model = openvino.compile_model("{file}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
logits = model(dict(tokenizer(texts, padding=True, truncation=True, return_tensors="np")))[0]
"""


def require_openvino() -> None:
    """Check that OpenVINO is installed, and the packages for ONNX, from which it reads models.

    Raises:
        PackageError: a package is missing; the message says how to install it.
    """
    require_onnx()
    require_packages("OpenVINO", "openvino")


@cache
def core() -> Any:
    """OpenVINO's core, the only one in the process.

    Each core that computes sets another signal stack for the thread, and restores the former one when it is deleted. If
    the former one belonged to a core that was deleted first, the next signal (such as the end of a child process)
    crashes the process.
    """
    import openvino

    return openvino.Core()


def compile_file(path: str | Path, threads: int | None = None, precision: str = "f32") -> Any:
    """Compile an OpenVINO or ONNX file for the CPU.

    Args:
        path: the file.
        threads: OpenVINO's choice by default.
        precision: of the computation, `"f32"` or `"bf16"`; by itself OpenVINO takes half precision if it can.
    """
    wanted: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    if threads is not None:
        wanted["INFERENCE_NUM_THREADS"] = threads
    return core().compile_model(core().read_model(path), "CPU", wanted)


def open_file(path: Path, threads: int | None = None) -> Forward:
    """Open an OpenVINO or ONNX file in OpenVINO."""
    request = compile_file(path, threads).create_infer_request()

    def forward(inputs: Inputs) -> list[NDArray[np.float32]]:
        feeds = [value.numpy() for value in names_and_values(inputs)[1]]
        return list(request.infer(feeds, share_inputs=True).values())

    return forward


def _write(original: Original, path: Path) -> None:
    import openvino

    # not openvino.convert_model, which sends telemetry
    openvino.save_model(core().read_model(original.onnx), path, compress_to_fp16=False)


OPENVINO = Format(("model.xml", "model.bin"), _write, open_file, require_openvino, "OpenVINO", "openvino", IMAGES, TEXT)
