"""Exported folders loaded by their own programs, in a process that can't import this project."""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch

PROGRAM = """
import sys, torch
sys.modules["elastic"] = None
torch.set_num_threads(1)
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
        given: pairs of a folder and its inputs; one process loads them all, for most of what it does is importing.
    """
    with tempfile.TemporaryDirectory() as scratch:
        inputs, outputs = Path(scratch) / "inputs.pt", Path(scratch) / "outputs.pt"
        torch.save([(str(folder), values) for folder, values in given], inputs)
        subprocess.run([sys.executable, "-c", PROGRAM, str(inputs), str(outputs)], check=True)
        return torch.load(outputs)
