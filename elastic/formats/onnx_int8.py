"""ONNX in int8, quantised after training: a third or a quarter of the size.

Weights have one scale per channel; activations have one per tensor, from the smallest and largest value on real
inputs. Only products with weights are quantised. Everything else, including attention's products, stays in float32:
with all of it in int8, a ViT's outputs are wrong. Activations are unsigned, which x86 processors multiply faster
(without VNNI they may saturate). Whether int8 is faster than float32 depends on processor and model: measure it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elastic.formats.format import Format, Original
from elastic.formats.onnx import IMAGES, TEXT, open_file
from elastic.formats.onnx_files import open_onnx, require_onnx
from elastic.formats.ordered import names_and_values
from elastic.support.inputs import Inputs
from elastic.support.quiet import quiet


def _write(original: Original, path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = original.scratch / "prepared.onnx"
    feeds = _feeds(original)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(feeds, None)

    with quiet():
        quant_pre_process(original.onnx, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )


def _feeds(original: Original) -> Iterator[dict[str, Any]]:
    names = [one.name for one in open_onnx(original.onnx).get_inputs()]

    def feed(inputs: Inputs) -> dict[str, Any]:
        return {name: value.numpy() for name, value in zip(names, names_and_values(inputs)[1], strict=True)}

    return map(feed, original.calibration)


ONNX_INT8 = Format(
    ("model.int8.onnx",), _write, open_file, require_onnx, "onnxruntime", "onnxruntime", IMAGES, TEXT, quantized=True
)
