"""OpenVINO in int8, quantised after training by NNCF."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from elastic.formats.format import Format, Original
from elastic.formats.openvino import IMAGES, TEXT, open_file, require_openvino
from elastic.inputs import Inputs
from elastic.ordered import names_and_values
from elastic.packages import require_packages
from elastic.quiet import quiet


def _require() -> None:
    require_openvino()
    require_packages("OpenVINO in int8", ("nncf",), "onnx,openvino,nncf")


def _write(original: Original, path: Path) -> None:
    import openvino

    with quiet():
        nncf = _nncf()
        data = nncf.Dataset(original.calibration, lambda one: [value.numpy() for value in _values(one)])
        quantized = nncf.quantize(
            openvino.Core().read_model(original.onnx),
            data,
            subset_size=len(original.calibration),
            preset=nncf.QuantizationPreset.MIXED,  # activations with a zero point, for those that are all above 0
            model_type=nncf.ModelType.TRANSFORMER if _has_attention(original.model) else None,
        )
    openvino.save_model(quantized, path, compress_to_fp16=False)


def _nncf() -> ModuleType:
    """NNCF, which reports its use to its makers unless it is imported where software is tested."""
    with _environment(CI="true", NNCF_CI="true"):
        import nncf
        import nncf.telemetry
    return nncf  # type: ignore[no-any-return]


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _values(inputs: Inputs) -> tuple[Tensor, ...]:
    return names_and_values(inputs)[1]


def _has_attention(model: nn.Module) -> bool:
    return any("attention" in type(module).__name__.lower() for module in model.modules())


OPENVINO_INT8 = Format(
    ("model.int8.xml", "model.int8.bin"), _write, open_file, _require, "OpenVINO", "openvino", IMAGES, TEXT,
    quantized=True,
)  # fmt: skip
