"""ExecuTorch, for phones and boards: lowered to XNNPACK, for one input at a time.

Memory is planned for the largest batch when the file is written. A batch of up to 8 would need 8 times as much memory
and split the graph into more pieces for XNNPACK, even when a single input is run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch._export.verifier import SpecViolationError

from elastic.formats.compare import Forward
from elastic.formats.exported_program import UNWRITABLE, to_graph, unwritable
from elastic.formats.format import Format, Original
from elastic.formats.ordered import names_and_values
from elastic.support.inputs import Inputs, first
from elastic.support.packages import require_packages
from elastic.support.quiet import mute, quiet

_IMAGES = """\
from executorch.runtime import Runtime

program = Runtime.get().load_program("{file}")
logits = program.load_method("forward").execute([image])[0]  # one image, (1, C, H, W)
"""
_TEXT = """\
from executorch.runtime import Runtime

program = Runtime.get().load_program("{file}")
text = tokenizer([words], padding="max_length", max_length={length}, truncation=True, return_tensors="pt")
logits = program.load_method("forward").execute([text[name] for name in {names}])[0]
"""


def _require() -> None:
    require_packages("ExecuTorch", "executorch")


def _write(original: Original, path: Path) -> None:
    program = to_graph(original.model, first(original.inputs, 1), free=False)
    with quiet():  # the import warns as well
        from executorch.exir.error import ExportError, InternalError
    try:
        with quiet():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    except (*UNWRITABLE, ExportError, InternalError, SpecViolationError) as error:
        raise unwritable(original.model, "ExecuTorch", error) from error
    with path.open("wb") as file:
        lowered.write_to_file(file)


def _open(path: Path, threads: int | None = None) -> Forward:
    with quiet(), mute():  # it logs what processor this is
        from executorch.extension.pybindings.portable_lib import (
            _threadpool_get_thread_count,
            _unsafe_reset_threadpool,
        )
        from executorch.runtime import Runtime

        _threadpool_get_thread_count()
        if threads is not None:
            _unsafe_reset_threadpool(threads)  # safe while nothing runs
        program = Runtime.get().load_program(path)
        method = program.load_method("forward")

    def forward(inputs: Inputs) -> list[NDArray[np.float32]]:
        outputs = method.execute([value.contiguous() for value in names_and_values(inputs)[1]])
        return [np.array(output) for output in outputs]

    return forward


EXECUTORCH = Format(
    ("model.pte",), _write, _open, _require, "ExecuTorch", "executorch", _IMAGES, _TEXT, free=False
)  # fmt: skip
