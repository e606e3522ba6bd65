"""An exported folder as the model's own library reads it: transformers' `from_pretrained`, timm's `local-dir:`.

Both look for `config.json` and `model.safetensors`. The fields that they read in `config.json` are written beside this
project's own. They can build uniform subnets only, so we load the folder with the library and compare the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from elastic.shipping.loader_script import only_numbers
from elastic.support.inputs import Inputs, predict
from elastic.support.quiet import mute, quiet
from elastic.upstream import library_of

_CANNOT = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, OSError, AssertionError)
"""Raised by a library that can't load a folder."""


def native_fields(sizes: Mapping[str, Any], model: nn.Module, config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `config.json` by which the model's library can load the folder.

    Args:
        sizes: of `model`, from `elastic.shipping.loader_script.describe_sizes`.
        model: a subnet.
        config: this project's own fields; of them the input size and the preprocessing are used.

    Returns:
        The fields; empty if the library can't build the subnet.
    """
    return library_of(model).config_fields(sizes, config, uniform=_uniform(sizes))


def native_code(sizes: Mapping[str, Any], folder: Path, model: nn.Module, inputs: Inputs) -> str:
    """Python code that loads the folder it runs in with the model's own library.

    Args:
        sizes: as above.
        folder: has `config.json`, with the fields above, and `model.safetensors`.
        model: in evaluation mode.
        inputs: the loaded model must compute the same for these.

    Returns:
        The code; empty if the library can't load the folder, or if the model that it loads computes something else.
    """
    if not _uniform(sizes):
        return ""
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(), quiet(), mute():
            code, loaded = library_of(model).load_folder(folder, sizes["build"])
            same = torch.equal(predict(loaded.eval(), inputs), predict(model, inputs))
    except _CANNOT:
        return ""
    return code if same else ""


def _uniform(sizes: Mapping[str, Any]) -> bool:
    """Whether the library builds the model by its arguments alone."""
    return only_numbers(sizes["modules"]) and "normalize" not in sizes["build"]
