"""Importing Once-for-All's published files as they are; all there is to do is to rename their keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from elastic.errors import CheckpointError
from elastic.support.weights import UNREADABLE
from zoo.published.key_names import reference_keys


def load_reference(
    model: nn.Module, tensors: Mapping[str, Tensor], origin: str, elastic: bool, kept: Collection[str] = ()
) -> None:
    """Load tensors that have Once-for-All's names into `model`, strictly; it is unchanged where they don't fit.

    Args:
        model: one that `zoo.networks.mobile` or `zoo.networks.ofa_resnet` built, plain or elastic.
        tensors: by their names in Once-for-All's file.
        origin: where they are from, for messages.
        elastic: whether they are a supernet's.
        kept: names of tensors of the model's that stay as they are.

    Raises:
        CheckpointError: a key that is missing, unknown or misshapen.
    """
    keys = reference_keys(model, elastic)
    own = model.state_dict()
    given = {key.replace(".mobile_inverted_conv.", ".conv."): tensor for key, tensor in tensors.items()}
    missing = [key for key in keys if key not in given]
    unknown = [key for key in given if key not in keys]
    if missing or unknown or len(given) < len(tensors):
        raise CheckpointError(f"{origin} doesn't hold this network: {_difference(missing, unknown, elastic)}")
    given |= {key: own[mine] for key, mine in keys.items() if mine in kept}
    for key, mine in keys.items():
        if given[key].shape != own[mine].shape:
            raise CheckpointError(f"{origin}: {key} is {tuple(given[key].shape)}, wanted {tuple(own[mine].shape)}")
    model.load_state_dict({mine: given[key] for key, mine in keys.items()})


def _difference(missing: list[str], unknown: list[str], elastic: bool) -> str:
    parts = []
    if missing:
        parts.append(f"it lacks {', '.join(missing[:3])} ({len(missing)} missing)")
    if unknown:
        parts.append(f"it has {', '.join(unknown[:3])}, which the network hasn't ({len(unknown)} unknown)")
    cure = "another supernet's or a specialised network's" if elastic else "a supernet's or another config's"
    return f"{'; '.join(parts) or 'keys in both old and new names'}. It may be {cure} file"


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file `{"state_dict": {name: tensor, ...}, ...}`, on the CPU; nothing in it is executed.

    Raises:
        CheckpointError: no such file, one that can't be read, or one that holds something else.
    """
    path = Path(path).expanduser()
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} doesn't exist; wanted one of Once-for-All's published files") from error
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path} can't be read as a PyTorch file of tensors; it is truncated or foreign, download it again"
        ) from error
    state = values.get("state_dict") if isinstance(values, dict) else None
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f'{path} is no file of Once-for-All: wanted {{"state_dict": {{name: tensor, ...}}}}')
    return dict(state)
