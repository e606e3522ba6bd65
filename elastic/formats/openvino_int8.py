"""OpenVINO in int8, quantised after training by NNCF: for one image at a time.

With a free batch, int8 convolutions crash on processors with AMX (openvinotoolkit/openvino, issue 37577). So would text
of any length, which is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from elastic.errors import ExportError
from elastic.formats.format import Format, Original
from elastic.formats.openvino import core, open_file, require_openvino
from elastic.support.packages import require_packages
from elastic.support.quiet import quiet

_IMAGES = """\
import openvino

model = openvino.compile_model("{file}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})  # what isn't int8
logits = model(image)[0]  # one float32 image, (1, C, H, W)
"""


def _require() -> None:
    require_openvino()
    require_packages("OpenVINO in int8", "nncf")


def _write(original: Original, path: Path) -> None:
    import openvino

    if not isinstance(original.inputs, Tensor):
        raise ExportError("openvino-int8 is for inputs of a fixed size, which text isn't; choose onnx-int8 or openvino")
    model = core().read_model(original.onnx)
    model.reshape([1, *original.inputs.shape[1:]])
    with quiet():
        nncf = _nncf()
        quantized = nncf.quantize(
            model,
            nncf.Dataset(original.calibration, _numpy),
            subset_size=len(original.calibration),
            preset=nncf.QuantizationPreset.MIXED,  # activations with a zero point, for those that are all above 0
            model_type=nncf.ModelType.TRANSFORMER if _has_attention(original.model) else None,
        )
    openvino.save_model(quantized, path, compress_to_fp16=False)


def _nncf() -> ModuleType:
    """Import NNCF without its telemetry, which is off in continuous integration."""
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


def _numpy(image: Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = image.numpy()
    return values


def _has_attention(model: nn.Module) -> bool:
    return any("attention" in type(module).__name__.lower() for module in model.modules())


OPENVINO_INT8 = Format(
    ("model.int8.xml", "model.int8.bin"), _write, open_file, _require, "OpenVINO", "openvino", _IMAGES,
    free=False, quantized=True,
)  # fmt: skip
