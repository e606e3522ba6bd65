"""Runtimes that run a model on a device, and the preparation of a model to be timed on them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from elastic.errors import ExportError, ProfileError, first_line
from elastic.formats.onnx_files import open_onnx, require_onnx, write_onnx_files
from elastic.formats.openvino import compile_file, require_openvino
from elastic.support.text import did_you_mean
from elastic.timing.protocol import Run, describe_device
from elastic.timing.setting import Setting

Given = tuple[nn.Module, Sequence[Tensor]]
"""A model in evaluation mode, and inputs for it, both on the CPU in float32."""


@dataclass(frozen=True)
class Backend:
    """One way to run models.

    Attributes:
        prepare: makes models ready, several at once, for that may be cheaper.
        precisions: what it computes in; the first is the usual.
        devices: where it runs.
        packages: what it consists of, beside PyTorch.
        require: raises a PackageError where something is missing.
    """

    prepare: Callable[[Sequence[Given], Setting], list[Run]]
    precisions: tuple[str, ...] = ("float32",)
    devices: tuple[str, ...] = ("cpu", "cuda")
    packages: tuple[str, ...] = ()
    require: Callable[[], None] = lambda: None

    @property
    def versions(self) -> dict[str, str]:
        """The version of each of its packages."""
        return {name: version(name) for name in self.packages}


# --- PyTorch ------------------------------------------------------------------------------------------------


def _eager(given: Sequence[Given], setting: Setting) -> list[Run]:
    return [_torch_run(*_moved(one, setting), setting) for one in given]


def _compiled(given: Sequence[Given], setting: Setting) -> list[Run]:
    from torch._dynamo.exc import TorchDynamoException

    runs = []
    for one in given:
        model, inputs = _moved(one, setting)
        run = _torch_run(torch.compile(own_code(model), dynamic=False), inputs, setting)
        try:
            run()
        except TorchDynamoException as error:
            raise ExportError(
                f"{type(model).__name__} can't be compiled ({first_line(error)}); on CPUs inductor needs a C++ "
                "compiler. Install one, or use the runtime torch"
            ) from error
        runs.append(run)
    return runs


def _moved(given: Given, setting: Setting) -> Given:
    dtype = getattr(torch, setting.precision)
    model, inputs = given
    moved = [value.to(setting.device, dtype if value.is_floating_point() else None) for value in inputs]
    return model.to(setting.device, dtype), moved


def _torch_run(model: Callable[..., Any], inputs: Sequence[Tensor], setting: Setting) -> Run:
    def run() -> None:
        with torch.inference_mode():
            model(*inputs)
        if setting.device == "cuda":
            torch.cuda.synchronize()

    return run


def own_code(model: nn.Module) -> Callable[..., Any]:
    """`model` behind a code object of its own.

    The compiler keeps what it compiled by code object, 8 versions at most, and asks which of them fits at each
    call: models of one class would use that up, and slow each other down.
    """

    def call(*inputs: Tensor) -> Any:
        return model(*inputs)

    return FunctionType(call.__code__.replace(), call.__globals__, "call", None, call.__closure__)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Within the block PyTorch uses so many threads; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# --- ONNX files ---------------------------------------------------------------------------------------------


def _onnxruntime(given: Sequence[Given], setting: Setting) -> list[Run]:
    with _onnx_files(given) as paths:
        sessions = [open_onnx(path, setting.threads, setting.device) for path in paths]

    def run_of(session: Any, inputs: Sequence[Tensor]) -> Run:
        names = [one.name for one in session.get_inputs()]
        feeds = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return lambda: session.run(None, feeds)

    return [run_of(session, inputs) for session, (_, inputs) in zip(sessions, given, strict=True)]


def _openvino(given: Sequence[Given], setting: Setting) -> list[Run]:
    precision = {"float32": "f32", "bfloat16": "bf16"}[setting.precision]
    with _onnx_files(given) as paths:
        compiled = [compile_file(path, setting.threads, precision) for path in paths]

    def run_of(model: Any, inputs: Sequence[Tensor]) -> Run:
        request = model.create_infer_request()
        feeds = [value.numpy() for value in inputs]
        return lambda: request.infer(feeds, share_inputs=True)

    return [run_of(model, inputs) for model, (_, inputs) in zip(compiled, given, strict=True)]


@contextmanager
def _onnx_files(given: Sequence[Given]) -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.onnx" for number in range(len(given))]
        write_onnx_files(given, paths)
        yield paths


_TORCH_PRECISIONS = ("float32", "float16", "bfloat16")

BACKENDS: dict[str, Backend] = {
    "torch": Backend(_eager, _TORCH_PRECISIONS),
    "torch.compile": Backend(_compiled, _TORCH_PRECISIONS),
    "onnxruntime": Backend(_onnxruntime, packages=("onnxruntime",), require=require_onnx),
    "openvino": Backend(_openvino, ("float32", "bfloat16"), ("cpu",), ("openvino",), require_openvino),
}
"""By name, as `elastic profile --runtime` takes it."""


def prepare(model: nn.Module, inputs: Sequence[Tensor], setting: Setting) -> Run:
    """A forward pass of `model` (in eval mode) on `inputs`, ready to be timed."""
    return prepare_all([(model, inputs)], setting)[0]


def prepare_all(given: Sequence[tuple[nn.Module, Sequence[Tensor]]], setting: Setting) -> list[Run]:
    """The same for several models, each with its inputs."""
    return BACKENDS[setting.runtime].prepare(given, setting)


def fingerprint(setting: Setting) -> dict[str, Any]:
    """Facts about this device: processor, cores, system, versions of the runtime and of PyTorch, date."""
    found = describe_device()
    if setting.device == "cuda":
        found["processor"] = torch.cuda.get_device_name()
    return {**found, "torch": torch.__version__, **BACKENDS[setting.runtime].versions}


def check_setting(setting: Setting) -> None:
    """Check that this can be measured here.

    Raises:
        ProfileError: an unknown runtime or precision, a device that isn't there, counts below 1.
        PackageError: the runtime isn't installed.
    """
    if setting.runtime not in BACKENDS:
        cure = did_you_mean(setting.runtime, list(BACKENDS), f"choose one of {', '.join(BACKENDS)}")
        raise ProfileError(f"no runtime {setting.runtime!r}; {cure}")
    runtime = BACKENDS[setting.runtime]
    if setting.precision not in runtime.precisions:
        wanted = " or ".join(runtime.precisions)
        raise ProfileError(f"{setting.runtime} can't measure {setting.precision!r}; choose {wanted}")
    if min(setting.threads, setting.batch_size) < 1:
        raise ProfileError(f"threads ({setting.threads}) and batch size ({setting.batch_size}) must be 1 or more")
    if setting.device not in runtime.devices:
        wanted = " or ".join(runtime.devices)
        raise ProfileError(f"no device {setting.device!r} with {setting.runtime}; choose {wanted}")
    if setting.device == "cuda" and not torch.cuda.is_available():
        raise ProfileError("device cuda: PyTorch can't compute on that here; choose cpu")
    runtime.require()
