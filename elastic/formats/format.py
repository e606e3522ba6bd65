"""What a format is, and what its files are written from."""

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
    """What files are written from.

    Attributes:
        model: on the CPU, in eval mode.
        inputs: an example batch, of 2 or more.
        calibration: single inputs that int8's ranges are found on.
        scratch: a folder for what isn't kept.
    """

    model: nn.Module
    inputs: Inputs
    calibration: Sequence[Inputs]
    scratch: Path

    @cached_property
    def onnx(self) -> Path:
        """The model as an ONNX file with a free batch size; several formats are made of it, it is written once."""
        path = self.scratch / "model.onnx"
        write_onnx(self.model, [self.inputs] if isinstance(self.inputs, Tensor) else self.inputs, path)
        return path


@dataclass(frozen=True)
class Format:
    """One way to write a model.

    Attributes:
        files: what it consists of; the first is the one that is opened.
        write: makes the first file's path, and the others beside it.
        open: the file on so many threads (the runtime's choice by default), ready to compute; None where loading it
            is checking it.
        require: raises a PackageError where a package is missing.
        runtime: what runs the file, as people call it.
        package: the runtime's package.
        for_images: Python that runs the file on `images`; `{file}` is its name.
        for_text: the same on `texts`; `{names}` are the inputs' names.
        free: whether the batch size, and the length of text, are free; else the batch is 1.
        quantized: whether its numbers are int8's, and it computes only nearly the same.
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
