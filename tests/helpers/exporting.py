"""Which formats can be written here, and what an exported folder's card computes when its code is run."""

import re

import numpy as np
import torch

from elastic.errors import PackageError
from elastic.formats import FORMATS

FLOATS = [name for name, made in FORMATS.items() if made.open is not None and not made.quantized]
CURE = r"needs .*; install with: pip install 'elastic-supernets\[.*\]'"


def installed(name):
    try:
        FORMATS[name].require()
    except PackageError:
        return False
    return True


def run_card(folder, monkeypatch, **given):
    """What the card's Python computes, for each of its blocks that compute something."""
    monkeypatch.chdir(folder)
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    for block in (block for block in blocks if "logits" in block):
        arrays = "torch" not in block  # not PyTorch's own, nor ExecuTorch's
        namespace = {name: np.asarray(value) if arrays and name == "images" else value for name, value in given.items()}
        with torch.inference_mode():
            exec(block, namespace)
        yield np.asarray(namespace["logits"])
