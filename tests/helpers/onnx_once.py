"""ONNX files that several tests need are written by PyTorch's exporter once: it takes seconds for each."""

import hashlib
import shutil
from contextlib import contextmanager
from unittest import mock

import torch

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


@contextmanager
def onnx_once(folder):
    """Within the block, the file of a model that was exported before is copied."""

    def write(model, inputs, path, any_batch=True):
        kept = folder / f"{digest(model, inputs, any_batch)}.onnx"
        if not kept.exists():
            write_onnx(model, inputs, kept, any_batch)
        shutil.copyfile(kept, path)

    with mock.patch("elastic.formats.format.write_onnx", write):
        yield
