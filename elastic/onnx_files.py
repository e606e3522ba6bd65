"""ONNX: written by PyTorch's exporter, run by onnxruntime, and checked against each other."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elastic.errors import ExportError
from elastic.inputs import predict

TOLERANCE = 1e-4
"""The largest difference allowed, relative to the largest output (both are float32)."""

_BATCH = "batch"
_SEQUENCE = "sequence"
"""What the free axes are called in the file."""

OnnxInputs = Sequence[Tensor] | Mapping[str, Tensor]


@dataclass(frozen=True)
class Difference:
    """How far a file's output is from the model's.

    Attributes:
        largest: the largest absolute difference.
        relative: the same, over the largest absolute output.
    """

    largest: float
    relative: float


def require_onnx() -> None:
    """Check that everything needed to write and run ONNX is there.

    Raises:
        ExportError: a package is missing; the message says how to install it.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ExportError(f"ONNX needs {', '.join(missing)}; install with: pip install 'elastic-supernets[onnx]'")


def write_onnx(model: nn.Module, inputs: OnnxInputs, path: str | Path, any_batch: bool = True) -> None:
    """Write `model` as one ONNX file.

    Args:
        model: in eval mode.
        inputs: example inputs, on the model's device; the first axis of each is the batch. Text has a name for each
            of them, and their second axis, the sequence, is free where the batch is.
        path: the file to write.
        any_batch: leave the batch size free, which needs examples of 2 or more; else it is that of `inputs`.

    Raises:
        ExportError: onnx isn't installed, or PyTorch's exporter can't express the model.
    """
    require_onnx()
    names, values = _named(inputs)
    if any_batch and any(len(value) < 2 for value in values):
        raise ExportError("a free batch size needs an example batch of 2 or more: a size of 1 would become a constant")
    free = {0: torch.export.Dim(_BATCH, min=1)} | ({1: torch.export.Dim(_SEQUENCE, min=1)} if names else {})
    axes = tuple(free for _ in values) if any_batch else None
    called: dict[str, Any] = {"input_names": names, "output_names": ["logits"]} if names else {}
    shapes = (axes,) if names and axes else axes  # all named inputs are one argument
    one = _Named(model, names).eval() if names else model
    try:
        with _quiet():
            program = torch.onnx.export(one, values, dynamo=True, dynamic_shapes=shapes, verbose=False, **called)
            assert program is not None
            program.save(path, external_data=False)
    except torch.onnx.errors.OnnxExporterError as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        raise ExportError(f"PyTorch can't write {type(model).__name__} as ONNX: {cause}") from error


def _named(inputs: OnnxInputs) -> tuple[list[str], tuple[Tensor, ...]]:
    return (list(inputs), tuple(inputs.values())) if isinstance(inputs, Mapping) else ([], tuple(inputs))


class _Named(nn.Module):
    """A model that takes its inputs by name, as one that takes them in order and returns logits."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        return predict(self.model, dict(zip(self.names, inputs, strict=True)))


def write_onnx_files(given: Sequence[tuple[nn.Module, Sequence[Tensor]]], paths: Sequence[str | Path]) -> None:
    """Write several models, each with its inputs' batch size, an ONNX file each.

    They go through PyTorch's exporter together and are taken apart again, for most of what that takes for a small
    model, it takes once.

    Args:
        given: models in eval mode, each with its example inputs; each has one output.
        paths: the files to write.

    Raises:
        ExportError: as for `write_onnx`.
    """
    if len(given) == 1:
        write_onnx(*given[0], paths[0], any_batch=False)
        return
    require_onnx()
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        together = Path(folder) / "together.onnx"
        inputs = [value for _, values in given for value in values]
        write_onnx(_SideBySide(given).eval(), inputs, together, any_batch=False)
        whole = onnx.load(together)
    extractor = onnx.utils.Extractor(whole)
    names = iter([one.name for one in whole.graph.input])
    for (_, values), output, path in zip(given, whole.graph.output, paths, strict=True):
        onnx.save(extractor.extract_model([next(names) for _ in values], [output.name]), path)


class _SideBySide(nn.Module):
    """Several models, each with inputs and output of its own."""

    def __init__(self, given: Sequence[tuple[nn.Module, Sequence[Tensor]]]) -> None:
        super().__init__()
        self.models = nn.ModuleList(model for model, _ in given)
        self.counts = [len(inputs) for _, inputs in given]

    def forward(self, *inputs: Tensor) -> tuple[Any, ...]:
        left = iter(inputs)
        return tuple(
            model(*[next(left) for _ in range(count)]) for model, count in zip(self.models, self.counts, strict=True)
        )


def open_onnx(path: str | Path, threads: int | None = None, device: str = "cpu", batch_size: int | None = None) -> Any:
    """An onnxruntime session for a file.

    Args:
        path: the file.
        threads: threads within an operator; onnxruntime's choice by default.
        device: `"cpu"` or `"cuda"`.
        batch_size: fix a free batch size to this, which lets onnxruntime optimise further.

    Raises:
        ExportError: onnxruntime is missing or lacks the device, or the file is broken.
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
        options.add_free_dimension_override_by_name(_BATCH, batch_size)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except (errors.Fail, errors.InvalidProtobuf, errors.InvalidGraph, errors.NoSuchFile) as error:
        raise ExportError(f"{path} isn't a readable ONNX file: {error}; export it again") from error


def run_onnx(session: Any, inputs: Sequence[Tensor]) -> NDArray[np.float32]:
    """The first output of a session."""
    names = [one.name for one in session.get_inputs()]
    feeds = {name: value.detach().cpu().numpy() for name, value in zip(names, inputs, strict=True)}
    output: NDArray[np.float32] = session.run(None, feeds)[0]
    return output


def compare_onnx(model: nn.Module, path: str | Path, inputs: OnnxInputs) -> Difference:
    """Compare a file's output with the model's, at the batch size given and at 1; of text, also at other lengths.

    Raises:
        ExportError: they differ by more than `TOLERANCE`.
    """
    session = open_onnx(path)
    largest = scale = 0.0
    names, values = _named(inputs)
    one = _Named(model, names) if names else model
    parts = [(len(values[0]), None), (1, None)] + ([(1, 1), (2, -(-values[0].shape[1] // 2))] if names else [])
    for n, length in parts:
        batch = [value[:n, :length] if names else value[:n] for value in values]
        with torch.inference_mode():
            wanted = one(*batch).float().numpy()
        largest = max(largest, float(np.abs(run_onnx(session, batch) - wanted).max()))
        scale = max(scale, float(np.abs(wanted).max()))
    relative = largest / scale if scale else largest
    if not relative <= TOLERANCE:
        raise ExportError(
            f"{path} computes something else than the model: largest difference {largest:.3g}, "
            f"{relative:.3g} of the largest output; wanted ≤ {TOLERANCE:g}. Was the model in eval mode?"
        )
    return Difference(largest, relative)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's notes to its own developers stay out of the user's terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
