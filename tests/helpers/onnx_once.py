"""ONNX files that several tests need are written by PyTorch's exporter once: it takes seconds for each."""

import hashlib
import os
import shutil
from contextlib import ExitStack, contextmanager
from functools import cache
from unittest import mock

import torch
from torch.onnx._internal.exporter._registration import ONNXRegistry

from elastic.formats.onnx_files import write_onnx
from elastic.formats.ordered import names_and_values

PLAIN = (bool, int, float, str, tuple, type(None))


def digest(model, inputs, any_batch):
    """What the file is a function of: the modules' classes and plain attributes, all tensors, and shapes of inputs."""
    found = hashlib.sha256(repr((any_batch, getattr(model, "config", None))).encode())
    for path, module in model.named_modules():
        values = {name: value for name, value in vars(module).items() if isinstance(value, PLAIN)}
        found.update(repr((path, type(module).__qualname__, values)).encode())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        found.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        found.update(tensor.detach().flatten().view(torch.uint8).numpy().tobytes())
    names, values = names_and_values(inputs)
    free = 0 if not any_batch else 2 if names else 1  # axes whose sizes the file leaves open
    found.update(repr([names, [(tuple(value.shape[free:]), value.dtype) for value in values]]).encode())
    return found.hexdigest()


PLACES = ("elastic.formats.format.write_onnx", "elastic.formats.onnx_files.write_onnx")
"""Where the function is called: for one file, and for several models together."""


@contextmanager
def onnx_once(folder):
    """Within the block, the file of a model that was exported before is copied; processes may share the folder."""

    def write(model, inputs, path, any_batch=True):
        kept = folder / f"{digest(model, inputs, any_batch)}.onnx"
        if not kept.exists():
            made = kept.with_suffix(f".{os.getpid()}")
            write_onnx(model, inputs, made, any_batch)
            made.replace(kept)
        shutil.copyfile(kept, path)

    # a sixth of each export goes into reading the same hundreds of functions of onnxscript
    operators = cache(ONNXRegistry.from_torchlib)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(ONNXRegistry, "from_torchlib", staticmethod(operators)))
        for place in PLACES:
            stack.enter_context(mock.patch(place, write))
        yield
