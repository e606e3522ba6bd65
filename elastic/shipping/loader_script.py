"""A loader beside the weights: how a subnet differs from what its library builds, and a program that makes it so.

`sizes.json` says how the library makes the model, and for each module what differs: children that are left out, plain
numbers, shapes of tensors. Of a uniform subnet of timm no shapes do: `timm.create_model` builds it as it is. `load.py`
(a copy of `elastic/upstream/loader.py`) makes the model, applies that and loads the weights, without this project.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from elastic.errors import ExportError
from elastic.support.files import write_json, write_text
from elastic.support.inputs import Inputs, predict
from elastic.upstream import library_of
from elastic.upstream import loader as template
from elastic.upstream.input_normalization import normalization_of

LOADER, SIZES = "load.py", "sizes.json"
_PLAIN = (bool, int, float, str, type(None))


def describe_sizes(model: nn.Module, built_with: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """How the model's library builds it, and what then differs in sizes.

    Args:
        model: a subnet of a timm or transformers model.
        built_with: timm's keyword arguments of the full model, where more than classes and channels were chosen.

    Returns:
        The content of `sizes.json`: `build`, the arguments of `elastic.upstream.loader.build`, and by path the
        `modules` that differ; None where the model is nothing that a library builds.
    """
    build = _build(model, built_with)
    if build is None:
        return None
    build = _uniform(build, model) or build
    modules = _found(build, model)
    return None if modules is None else {"build": build, "modules": modules}


def write_loader(sizes: Mapping[str, Any], model: nn.Module, folder: Path, inputs: Inputs) -> list[str]:
    """Write `load.py` and `sizes.json`.

    Args:
        sizes: of the model.
        model: in evaluation mode.
        folder: holds its `model.safetensors`.
        inputs: for which what is loaded must compute the same.

    Returns:
        The names of the files; none where what they load computes something else.
    """
    write_json(folder / SIZES, dict(sizes))
    write_text(folder / LOADER, inspect.getsource(template))
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        same = torch.equal(predict(template.load(folder), inputs), predict(model, inputs))
    written = [LOADER, SIZES]
    if not same:  # by what no size says: code that was changed, buffers outside the state_dict
        for name in written:
            (folder / name).unlink()
    return written if same else []


def _uniform(build: Mapping[str, Any], model: nn.Module) -> dict[str, Any] | None:
    """What the library builds the model with where its arguments say all sizes; None where they don't."""
    arguments = library_of(model).uniform_arguments()
    wanted = {**build, "arguments": {**build["arguments"], **arguments}}
    found = _found(wanted, model) if arguments else None
    return wanted if found is not None and only_numbers(found) else None


def only_numbers(modules: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether all tensors of a model are built by its library's arguments alone; its modules' differences say so."""
    return not any(own.keys() - {"numbers"} for own in modules.values())


def _found(build: Mapping[str, Any], model: nn.Module) -> dict[str, dict[str, Any]] | None:
    """By module path, the model's differences from what is built; None where it is built by other means."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return _differences(template.build(**build), model)
    except (ExportError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, AssertionError):
        return None


def _build(model: nn.Module, built_with: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How the model's library builds it; None for any other model."""
    built = library_of(model).build_arguments(built_with or {})
    normalization = normalization_of(model)
    return built if built is None or normalization is None else {**built, "normalize": normalization}


def _differences(full: nn.Module, model: nn.Module) -> dict[str, dict[str, Any]]:
    """By module path, what the loader must change in `full`.

    Raises:
        ExportError: they differ in more than sizes.
    """
    found = {}
    for path, module in model.named_modules():
        other = full.get_submodule(path)
        missing = [name for name in module._modules if name not in other._modules]
        if type(other) is not type(module) or missing:
            raise ExportError(f"{path!r} is a {type(module).__name__}, not the {type(other).__name__} that is built")
        own = {
            "left_out": [name for name in other._modules if name not in module._modules],
            "numbers": _numbers(other, module),
            "shapes": _shapes(other, module),
            "dtypes": _dtypes(other, module),
        }
        changed = {key: value for key, value in own.items() if value}
        if changed:
            found[path] = changed
    return found


def _numbers(full: nn.Module, module: nn.Module) -> dict[str, Any]:
    def plain(value: object) -> bool:
        return all(isinstance(one, _PLAIN) for one in value) if isinstance(value, tuple) else isinstance(value, _PLAIN)

    public = {name: value for name, value in vars(module).items() if name[0] != "_" and name != "training"}
    return {name: value for name, value in public.items() if plain(value) and vars(full).get(name) != value}


def _shapes(full: nn.Module, module: nn.Module) -> dict[str, list[int]]:
    tensors = {**module._parameters, **module._buffers}
    other = {**full._parameters, **full._buffers}
    if {name for name in tensors if tensors[name] is None} != {name for name in other if other[name] is None}:
        raise ExportError(f"a {type(module).__name__} has other tensors than the one that is built")
    return {
        name: list(tensor.shape)
        for name, tensor in tensors.items()
        if tensor is not None and tensor.shape != other[name].shape  # type: ignore[union-attr]
    }


def _dtypes(full: nn.Module, module: nn.Module) -> dict[str, str]:
    """Of tensors that no file holds; those of others are the file's."""
    buffers = {name: module._buffers[name] for name in module._non_persistent_buffers_set}
    return {
        name: str(tensor.dtype).removeprefix("torch.")
        for name, tensor in buffers.items()
        if tensor is not None and tensor.dtype != full._buffers[name].dtype  # type: ignore[union-attr]
    }
