"""`Format`, one way to write a model; and `Original`, the model that is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from torch import Tensor, nn

from elastic.formats.compare import Forward
from elastic.formats.onnx_files import write_onnx
from elastic.support.inputs import Inputs


@dataclass(frozen=True)
class Original:
    """A model to be written, with its inputs.

    Attributes:
        model: on the CPU, in eval mode.
        inputs: an example batch, of 2 or more.
        calibration: batches of one, from which int8's ranges are found.
        scratch: a folder for temporary files.
        device: that PyTorch's own accuracy is measured on.
    """

    model: nn.Module
    inputs: Inputs
    calibration: Sequence[Inputs]
    scratch: Path
    device: str = "cpu"

    @cached_property
    def onnx(self) -> Path:
        """The model as an ONNX file with a free batch size, written once since several formats are made from it."""
        path = self.scratch / "model.onnx"
        write_onnx(self.model, [self.inputs] if isinstance(self.inputs, Tensor) else self.inputs, path)
        return path


@dataclass(frozen=True)
class Format:
    """One way to write a model.

    Attributes:
        files: names of its files; the first is the one that is opened.
        write: writes an `Original` to the first file's path, and the other files beside it.
        open: opens the file with a number of threads (None: the runtime's choice); None if loading the file is enough
            of a check.
        require: raises a PackageError if a package is missing.
        runtime: display name of the program that runs the file.
        package: the runtime's package.
        for_images: Python that runs the file on `images`; `{file}` is its name.
        for_text: Python that runs the file on `texts`; `{names}` are the names of the inputs.
        free: whether batch size and length of text are free; otherwise the batch is 1.
        quantized: whether it computes in int8, so that outputs are only approximately the model's.
    """

    files: tuple[str, ...]
    write: Callable[[Original, Path], None]
    open: Callable[[Path, int | None], Forward] | None = None
    require: Callable[[], None] = lambda: None
    runtime: str = ""
    package: str = ""
    for_images: str = ""
    for_text: str = ""
    free: bool = True
    quantized: bool = False

    @property
    def runs_on(self) -> str:
        """The runtime and its version."""
        return f"{self.runtime} {version(self.package)}"
