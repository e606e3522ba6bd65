"""An exported folder as the model's own library reads it: transformers' `from_pretrained`, timm's `local-dir:`.

Both look for `config.json` and `model.safetensors`. What they want to read in `config.json` goes in beside what this
project says there; whether they then load the same model is tried, not assumed: they can make uniform subnets only.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from elastic.shipping.loader_script import only_numbers
from elastic.support.inputs import Inputs, predict
from elastic.support.quiet import mute, quiet

_CANNOT = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, OSError, AssertionError)
"""What the libraries raise where they can't load a folder."""


def native_fields(sizes: Mapping[str, Any], model: nn.Module, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the library reads in `config.json`.

    Args:
        sizes: what `elastic.shipping.loader_script.describe_sizes` gave for `model`.
        model: a subnet.
        config: what this project says there; of it the input size, and how inputs are prepared.

    Returns:
        The configuration of a model of transformers that has all of its layers (where they aren't of one size, loading
        fails on the shapes rather than giving another model); for timm architecture and arguments; else nothing.
    """
    build = sizes["build"]
    if build["library"] == "transformers":
        if any("left_out" in own for own in sizes["modules"].values()):
            return {}  # it would draw the layers that are missing at random
        fields = {name: value for name, value in build["arguments"].items() if name != "attn_implementation"}
        return {**fields, "architectures": [build["name"]], "dtype": str(model.dtype).removeprefix("torch.")}
    if not _uniform(sizes):
        return {}
    arguments = dict(build["arguments"])
    classes = {"num_classes": arguments.pop("num_classes")} if "num_classes" in arguments else {}
    pretrained: Any = model.pretrained_cfg
    said = {**pretrained, **config["preprocessing"], "input_size": config["input_size"]}
    described = {name: value for name, value in said.items() if name in _DESCRIBED}
    return {"architecture": build["name"], **classes, "model_args": arguments, "pretrained_cfg": described}


_DESCRIBED = frozenset({
    "input_size", "fixed_input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "pool_size",
    "first_conv", "classifier",
})  # fmt: skip
"""Of timm's pretrained configuration what describes the model, and not where other weights of it are."""


def native_code(sizes: Mapping[str, Any], folder: Path, model: nn.Module, inputs: Inputs) -> str:
    """Python that loads the folder it runs in with the model's own library.

    Args:
        sizes: as above.
        folder: has `config.json`, with the fields above, and `model.safetensors`.
        model: in evaluation mode.
        inputs: for which what is loaded must compute the same.

    Returns:
        The program; empty where the library can't load the folder, or loads something else.
    """
    if not _uniform(sizes):
        return ""
    build = sizes["build"]
    library = importlib.import_module(build["library"])
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(), quiet(), mute():
            if build["library"] == "timm":
                code, loaded = _TIMM, library.create_model(f"local-dir:{folder}", pretrained=True)
            else:
                kernel = build["arguments"]["attn_implementation"]  # another one rounds differently
                code = _TRANSFORMERS.format(name=build["name"])
                loaded = getattr(library, build["name"]).from_pretrained(folder, attn_implementation=kernel)
            same = torch.equal(predict(loaded.eval(), inputs), predict(model, inputs))
    except _CANNOT:
        return ""
    return code if same else ""


_TIMM = 'import timm\n\nmodel = timm.create_model("local-dir:.", pretrained=True).eval()'
_TRANSFORMERS = 'from transformers import {name}\n\nmodel = {name}.from_pretrained(".").eval()'


def _uniform(sizes: Mapping[str, Any]) -> bool:
    """Whether the library builds the model by its arguments alone."""
    return only_numbers(sizes["modules"]) and "normalize" not in sizes["build"]
