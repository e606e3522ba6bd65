"""Exported folders loaded by their own program, in a process that can't import this project."""

import subprocess
import sys

import torch

PROGRAM = """
import sys, torch
sys.modules["elastic"] = None
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from load import load
given = torch.load(sys.argv[2])
output = load()(**given) if isinstance(given, dict) else load()(given)
torch.save(getattr(output, "logits", output), sys.argv[3])
"""


def loaded_elsewhere(folder, inputs):
    """The outputs of the model that the folder's `load.py` makes."""
    given, made = folder / "given.pt", folder / "made.pt"
    torch.save(inputs, given)
    subprocess.run([sys.executable, "-c", PROGRAM, str(folder), str(given), str(made)], check=True)
    return torch.load(made)
