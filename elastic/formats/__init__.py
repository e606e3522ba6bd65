"""Export formats: one short file each, named in `FORMATS`."""

from __future__ import annotations

from elastic.formats.executorch import EXECUTORCH
from elastic.formats.exported_program import EXPORTED_PROGRAM
from elastic.formats.format import Format, Original
from elastic.formats.onnx import ONNX
from elastic.formats.onnx_int8 import ONNX_INT8
from elastic.formats.openvino import OPENVINO
from elastic.formats.openvino_int8 import OPENVINO_INT8
from elastic.formats.safetensors import SAFETENSORS

FORMATS: dict[str, Format] = {
    "safetensors": SAFETENSORS,
    "onnx": ONNX,
    "onnx-int8": ONNX_INT8,
    "openvino": OPENVINO,
    "openvino-int8": OPENVINO_INT8,
    "executorch": EXECUTORCH,
    "torch.export": EXPORTED_PROGRAM,
}
"""Name, as for `elastic export --formats` → format."""

__all__ = ["FORMATS", "Format", "Original"]
