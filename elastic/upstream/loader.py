"""Loads the model in this folder: `from load import load; model = load()`.

Needs torch, safetensors, and the library that `sizes.json` names: transformers or timm.
"""

# This file has two uses. Every export gets a copy of it as load.py, so it may import nothing of this project; and
# elastic itself uses `build`, `NormalizedConv2d` and `normalized`, so that an exported model is built and normalised
# by the same code. A change here reaches both; tests/elastic/upstream/test_loader.py compares them.

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn


def load(folder: str | Path = Path(__file__).parent) -> nn.Module:
    """Build the model in `folder`, in evaluation mode."""
    sizes = json.loads((Path(folder) / "sizes.json").read_text("utf-8"))
    model = build(**sizes["build"])
    for path, own in sizes["modules"].items():
        module = model.get_submodule(path)
        for name in own.get("left_out", ()):
            del module._modules[name]
        for name, number in own.get("numbers", {}).items():
            setattr(module, name, tuple(number) if isinstance(number, list) else number)
        for name, shape in own.get("shapes", {}).items():
            tensor = torch.empty(shape, dtype=getattr(module, name).dtype)
            setattr(module, name, nn.Parameter(tensor) if name in module._parameters else tensor)
        for name, dtype in own.get("dtypes", {}).items():
            setattr(module, name, getattr(module, name).to(getattr(torch, dtype)))
    with safe_open(Path(folder) / "model.safetensors", "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        tied = {name: weights[first] for name, first in file.metadata().items() if first in weights}
    weights = {**tied, **weights}
    for name, tensor in model.state_dict(keep_vars=True).items():  # which may be in half precision
        if name in weights:
            tensor.data = tensor.data.to(weights[name].dtype)
    model.load_state_dict(weights)
    return model.eval()


def build(library: str, name: str, arguments: dict[str, Any], normalize: dict[str, Any] | None = None) -> nn.Module:
    """Build the model at its library's sizes; with `normalize`, the convolution at its path normalises the images."""
    module = importlib.import_module(library)
    if library == "timm":
        made: nn.Module = module.create_model(name, **arguments)
    else:
        made = getattr(module, name)(module.AutoConfig.for_model(**arguments))
    if normalize is not None:
        normalized(made.get_submodule(normalize["path"]), normalize["mean"], normalize["std"])
    return made


class NormalizedConv2d(nn.Conv2d):
    """A convolution of (x - mean) / std; its `state_dict` is that of the plain one."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - as in torch
        """Images (N, C, H, W), with values between 0 and 1, to features."""
        mean, std = (input.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return super().forward((input - mean) / std)


def normalized(conv: Any, mean: list[float], std: list[float]) -> None:
    """Let a plain convolution normalise what it gets, in place; a number per channel each."""
    conv.__class__ = NormalizedConv2d
    conv.mean, conv.std = tuple(mean), tuple(std)
