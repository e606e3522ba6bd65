"""ONNX, for onnxruntime and many other runtimes: any batch size and any length of text."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elastic.formats.compare import Forward
from elastic.formats.format import Format, Original
from elastic.formats.onnx_files import open_onnx, require_onnx, run_onnx
from elastic.formats.ordered import names_and_values
from elastic.support.inputs import Inputs

IMAGES = """\
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
logits = session.run(None, {{session.get_inputs()[0].name: images}})[0]  # float32 images
"""
TEXT = """\
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
logits = session.run(None, dict(tokenizer(texts, padding=True, truncation=True, return_tensors="np")))[0]
"""


def _write(original: Original, path: Path) -> None:
    shutil.copyfile(original.onnx, path)


def open_file(path: Path, threads: int | None = None) -> Forward:
    """Open an ONNX file in onnxruntime."""
    session = open_onnx(path, threads)

    def forward(inputs: Inputs) -> list[NDArray[np.float32]]:
        return run_onnx(session, names_and_values(inputs)[1])

    return forward


ONNX = Format(("model.onnx",), _write, open_file, require_onnx, "onnxruntime", "onnxruntime", IMAGES, TEXT)
