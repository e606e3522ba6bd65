"""ONNX: written by PyTorch's exporter, and run by onnxruntime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elastic.errors import ExportError, first_line
from elastic.formats.ordered import BATCH, OrderedInputs, free_axes, names_and_values, ordered
from elastic.support.inputs import predict_all
from elastic.support.packages import require_packages
from elastic.support.quiet import quiet


def require_onnx() -> None:
    """Check that all packages for writing and running ONNX are installed.

    Raises:
        PackageError: a package is missing; the message says how to install it.
    """
    require_packages("ONNX", "onnx", "onnxscript", "onnxruntime")


def write_onnx(model: nn.Module, inputs: OrderedInputs, path: str | Path, any_batch: bool = True) -> None:
    """Write `model` as one ONNX file.

    Args:
        model: in eval mode.
        inputs: example inputs on the model's device; the first axis of each is the batch. Text comes by name, and its
            second axis, the sequence, is free if the batch is.
        path: the file to write.
        any_batch: leave the batch size free, which needs a batch of 2 or more; else it is that of `inputs`.

    Raises:
        PackageError: onnx isn't installed.
        ExportError: PyTorch's exporter can't express the model.
    """
    require_onnx()
    names, values = names_and_values(inputs)
    if any_batch and any(len(value) < 2 for value in values):
        raise ExportError("a free batch size needs an example batch of 2 or more: a size of 1 would become a constant")
    shapes = free_axes(names, values) if any_batch else None
    called: dict[str, Any] = {}
    if isinstance(inputs, Mapping):
        with torch.inference_mode():
            called = {"input_names": names, "output_names": list(predict_all(model, inputs))}
    try:
        with quiet():
            one = ordered(model, names)
            program = torch.onnx.export(one, values, dynamo=True, dynamic_shapes=shapes, verbose=False, **called)
            assert program is not None
            program.save(path, external_data=False)
    except torch.onnx.errors.OnnxExporterError as error:
        cause = first_line(error.__cause__ or error)
        raise ExportError(f"PyTorch can't write {type(model).__name__} as ONNX: {cause}") from error


def write_onnx_files(models: Sequence[tuple[nn.Module, Sequence[Tensor]]], paths: Sequence[str | Path]) -> None:
    """Write several models, each as an ONNX file with its inputs' batch size.

    They go through PyTorch's exporter together and are split afterwards: for small models most of the exporter's time
    is spent once per call.

    Args:
        models: in eval mode, each with its example inputs; each has one output.
        paths: the files to write.

    Raises:
        PackageError, ExportError: as for `write_onnx`.
    """
    if len(models) == 1:
        write_onnx(*models[0], paths[0], any_batch=False)
        return
    require_onnx()
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        together = Path(folder) / "together.onnx"
        inputs = [value for _, values in models for value in values]
        write_onnx(_SideBySide(models).eval(), inputs, together, any_batch=False)
        whole = onnx.load(together)
    extractor = onnx.utils.Extractor(whole)
    names = iter([one.name for one in whole.graph.input])
    for (_, values), output, path in zip(models, whole.graph.output, paths, strict=True):
        onnx.save(extractor.extract_model([next(names) for _ in values], [output.name]), path)


class _SideBySide(nn.Module):
    """Several models in one, each with its own inputs and output."""

    def __init__(self, models: Sequence[tuple[nn.Module, Sequence[Tensor]]]) -> None:
        super().__init__()
        self.models = nn.ModuleList(model for model, _ in models)
        self.counts = [len(inputs) for _, inputs in models]

    def forward(self, *inputs: Tensor) -> tuple[Any, ...]:
        left = iter(inputs)
        return tuple(
            model(*[next(left) for _ in range(count)]) for model, count in zip(self.models, self.counts, strict=True)
        )


def open_onnx(path: str | Path, threads: int | None = None, device: str = "cpu", batch_size: int | None = None) -> Any:
    """Open a file as an onnxruntime session.

    Args:
        path: the file.
        threads: threads within an operator; onnxruntime's choice by default.
        device: `"cpu"` or `"cuda"`.
        batch_size: fix a free batch size to this, which lets onnxruntime optimise further.

    Raises:
        PackageError: onnxruntime is missing.
        ExportError: it lacks the device, or the file is broken.
    """
    require_onnx()
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise ExportError(f"this onnxruntime has no {provider}; install onnxruntime-gpu, or use the CPU")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.inter_op_num_threads = 1
    if threads is not None:
        options.intra_op_num_threads = threads
    if batch_size is not None:
        options.add_free_dimension_override_by_name(BATCH, batch_size)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except (errors.Fail, errors.InvalidProtobuf, errors.InvalidGraph, errors.NoSuchFile) as error:
        raise ExportError(f"{path} isn't a readable ONNX file: {error}; export it again") from error


def run_onnx(session: Any, inputs: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """The outputs of a session."""
    names = [one.name for one in session.get_inputs()]
    feeds = {name: value.detach().cpu().numpy() for name, value in zip(names, inputs, strict=True)}
    outputs: list[NDArray[np.float32]] = session.run(None, feeds)
    return outputs
