"""Loads the model in this folder: `from load import load; model = load()`.

Needs torch, safetensors, and the library that `sizes.json` names: transformers or timm.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn


def load(folder: str | Path = Path(__file__).parent) -> nn.Module:
    """The model in `folder`, in evaluation mode."""
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
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model.eval()


def build(library: str, name: str, arguments: dict[str, Any]) -> nn.Module:
    """The model at its library's sizes."""
    module = importlib.import_module(library)
    if library == "timm":
        made: nn.Module = module.create_model(name, **arguments)
    else:
        made = getattr(module, name)(module.AutoConfig.for_model(**arguments))
    return made
