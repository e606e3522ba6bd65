"""`load.py` and `sizes.json`: with them an exported folder loads where this project isn't installed.

`sizes.json` says how the library builds the full-size model, and how each module of the subnet differs: children that
are left out, plain numbers, shapes of tensors. For a uniform subnet no shape differs, since the library's arguments say
all sizes. `load.py` (a copy of `elastic/upstream/loader.py`) builds the model, applies the differences and loads the
weights.
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
    """Describe how the model's library builds it, and which sizes differ then.

    Args:
        model: a subnet of a timm or transformers model.
        built_with: arguments that the full model was built with, beyond its classes and channels.

    Returns:
        The content of `sizes.json`: `build`, the arguments of `elastic.upstream.loader.build`; and `modules`, path →
        differences. None if no library builds the model.
    """
    build = _build(model, built_with)
    if build is None:
        return None
    build = _uniform(build, model) or build
    modules = _modules(build, model)
    return None if modules is None else {"build": build, "modules": modules}


def write_loader(sizes: Mapping[str, Any], model: nn.Module, folder: Path, inputs: Inputs) -> list[str]:
    """Write `load.py` and `sizes.json`.

    Args:
        sizes: of the model.
        model: in evaluation mode.
        folder: has its `model.safetensors`.
        inputs: the loaded model must compute the same for these.

    Returns:
        The names of the files; none if the model that they load computes something else.
    """
    write_json(folder / SIZES, dict(sizes))
    write_text(folder / LOADER, inspect.getsource(template))
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        same = torch.equal(predict(template.load(folder), inputs), predict(model, inputs))
    written = [LOADER, SIZES]
    if not same:  # it differs in more than sizes: changed code, or buffers outside the state_dict
        for name in written:
            (folder / name).unlink()
    return written if same else []


def _uniform(build: Mapping[str, Any], model: nn.Module) -> dict[str, Any] | None:
    """The arguments with which the library builds the model, if they can say all of its sizes; else None."""
    arguments = library_of(model).uniform_arguments()
    wanted = {**build, "arguments": {**build["arguments"], **arguments}}
    found = _modules(wanted, model) if arguments else None
    return wanted if found is not None and only_numbers(found) else None


def only_numbers(modules: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether modules differ in plain numbers only, so that the library's arguments alone give all tensors."""
    return not any(own.keys() - {"numbers"} for own in modules.values())


def _modules(build: Mapping[str, Any], model: nn.Module) -> dict[str, dict[str, Any]] | None:
    """Module path → differences from the model that is built; None if it differs in more than sizes."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return _differences(template.build(**build), model)
    except (ExportError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, AssertionError):
        return None


def _build(model: nn.Module, built_with: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The arguments by which the model's library builds it; None for a model of no library."""
    built = library_of(model).build_arguments(built_with or {})
    normalization = normalization_of(model)
    return built if built is None or normalization is None else {**built, "normalize": normalization}


def _differences(full: nn.Module, model: nn.Module) -> dict[str, dict[str, Any]]:
    """Module path → changes that turn `full` into `model`.

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
        raise ExportError(f"a {type(module).__name__} has other tensors than the one that its library builds")
    return {
        name: list(tensor.shape)
        for name, tensor in tensors.items()
        if tensor is not None and tensor.shape != other[name].shape  # type: ignore[union-attr]
    }


def _dtypes(full: nn.Module, module: nn.Module) -> dict[str, str]:
    """Dtypes of non-persistent buffers; those of other tensors come from the file."""
    buffers = {name: module._buffers[name] for name in module._non_persistent_buffers_set}
    return {
        name: str(tensor.dtype).removeprefix("torch.")
        for name, tensor in buffers.items()
        if tensor is not None and tensor.dtype != full._buffers[name].dtype  # type: ignore[union-attr]
    }
