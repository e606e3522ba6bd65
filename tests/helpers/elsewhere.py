"""Exported folders loaded by their own programs, in a process that can't import this project."""

import tempfile
from pathlib import Path

import torch
from forked import run_program

PROGRAM = """
import sys, torch
outputs = []
for folder, inputs in torch.load(sys.argv[1]):
    sys.path.insert(0, folder)
    from load import load
    output = load()(**inputs) if isinstance(inputs, dict) else load()(inputs)
    outputs.append(getattr(output, "logits", output))
    sys.path.remove(folder)
    del sys.modules["load"]
torch.save(outputs, sys.argv[2])
"""


def loaded_elsewhere(*given):
    """The outputs of the models that folders' own `load.py` make.

    Args:
        given: pairs of a folder and its inputs; one process loads them all.
    """
    with tempfile.TemporaryDirectory() as scratch:
        inputs, outputs = Path(scratch) / "inputs.pt", Path(scratch) / "outputs.pt"
        torch.save([(str(folder), values) for folder, values in given], inputs)
        run_program(PROGRAM, str(inputs), str(outputs), alone=True)
        return torch.load(outputs)
