"""Weights in files: safetensors, loaded strictly."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from elastic.errors import CheckpointError
from elastic.support.files import check_file, sha256

UNREADABLE = (
    RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, TypeError, LookupError, AttributeError
)  # fmt: skip
"""What `torch.load` raises of a file that is truncated or something else, whose bytes it takes for instructions."""


def save_weights(model: nn.Module, path: Path) -> str:
    """Write a model's `state_dict` as safetensors; a tensor of several names (a tied embedding) is written once.

    The file's metadata maps each further name to the one that was written, as `safetensors.torch.save_model` does.

    Returns:
        The file's SHA-256, as hexadecimal digits.

    Raises:
        OSError: the disk is full, or may not be written to.
    """
    tensors, others = _distinct(model.state_dict())
    content = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    # safetensors' own save_file makes files that nobody else may read
    path.write_bytes(save(content, metadata={"format": "pt", **others}))
    return sha256(path)


def _distinct(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Each tensor once, under its first name; and the other names, each with the first one."""
    tensors: dict[str, Tensor] = {}
    others: dict[str, str] = {}
    first: dict[object, str] = {}
    for name, tensor in state.items():
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and first.setdefault(place, name) != name:
            others[name] = first[place]
        else:
            tensors[name] = tensor
    return tensors, others


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file, under all of their names.

    Raises:
        CheckpointError: a file that is missing or truncated, or something else.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            others = file.metadata() or {}
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} doesn't exist; wanted weights") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} can't be read as safetensors ({error}); it is truncated or foreign") from error
    return {**{name: tensors[first] for name, first in others.items() if first in tensors}, **tensors}


def load_weights(model: nn.Module, path: Path, digest: str | None = None) -> None:
    """Load safetensors into `model`, strictly; the model is unchanged where the file doesn't fit.

    Args:
        model: the module to fill.
        path: the safetensors file.
        digest: the SHA-256 that the file must have.

    Raises:
        CheckpointError: a file that is missing, truncated, altered, or another model's.
    """
    tensors = read_weights(path)
    if digest is not None:
        check_file(path, digest, CheckpointError)
    check_tensors(model, tensors, str(path))
    model.load_state_dict(tensors)


def check_tensors(model: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Check that `tensors` are exactly those of the model's `state_dict`.

    Raises:
        CheckpointError: names that are missing or unknown, or tensors of another shape.
    """
    own = model.state_dict()
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or unknown:
        what = f"it lacks {missing[:3]}" if missing else f"the model has no {unknown[:3]}"
        counts = f"{len(missing)} missing, {len(unknown)} unknown"
        raise CheckpointError(f"{origin} holds another model's weights: {what} ({counts})")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise CheckpointError(f"{origin}: {name} is {tuple(tensor.shape)}, the model's is {tuple(own[name].shape)}")
