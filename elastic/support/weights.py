"""Weights in files: safetensors, loaded strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from elastic.errors import CheckpointError
from elastic.support.files import sha256


def save_weights(model: nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> str:
    """Write a model's `state_dict` as safetensors; shared tensors are stored once for each name.

    Returns:
        The file's SHA-256, as hexadecimal digits.

    Raises:
        OSError: the disk is full, or may not be written to.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    # safetensors' own save_file makes files that nobody else may read
    path.write_bytes(save(tensors, metadata={"format": "pt", **(metadata or {})}))
    return sha256(path)


def load_weights(model: nn.Module, path: Path, digest: str | None = None) -> None:
    """Load safetensors into `model`, strictly; the model is unchanged where the file doesn't fit.

    Args:
        model: the module to fill.
        path: the safetensors file.
        digest: the SHA-256 that the file must have.

    Raises:
        CheckpointError: a file that is missing, truncated, altered, or another model's.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} doesn't exist; wanted the weights of a {type(model).__name__}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} can't be read as safetensors ({error}); it is truncated or foreign") from error
    if digest is not None and sha256(path) != digest:
        raise CheckpointError(f"{path} isn't the file that was saved with its JSON (another SHA-256); save it again")
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
