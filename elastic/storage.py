"""Storage: supernets in folders, and weights in files.

A supernet's folder holds `supernet.json` (what it is made from) and `supernet.safetensors` (its weights).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from elastic.building import SupernetSource
from elastic.errors import CheckpointError
from elastic.files import read_json, sha256, staged, write_json
from elastic.named import find_supernet
from elastic.sizes import Lookup
from elastic.supernet import Supernet

_JSON, _WEIGHTS = "supernet.json", "supernet.safetensors"


# --- weights ------------------------------------------------------------------------------------------------


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


# --- supernets ----------------------------------------------------------------------------------------------


def digest_supernet(supernet: Supernet) -> str:
    """Sixteen hexadecimal digits for a supernet's dims and full tensor shapes: measurements belong to it.

    What follows a dim, and whether weights are scaled, count where they aren't as usual.
    """
    dims = [(dim.name, list(dim.choices)) for dim in supernet.space.dims]
    shapes = [(name, list(tensor.shape)) for name, tensor in supernet.model.state_dict().items()]
    tables = [(name, one.part, one.table) for name, one in supernet.layout.derived.items() if isinstance(one, Lookup)]
    options = {"couple": tables, "width_scaling": supernet.recipe.width_scaling}
    unusual = {key: value for key, value in options.items() if value}
    described = [dims, shapes, list(supernet.recipe.input_size), *([unusual] if unusual else [])]
    return hashlib.blake2b(json.dumps(described).encode(), digest_size=8).hexdigest()


def check_digest(supernet: Supernet, digest: str, error: type[Exception], what: str, cure: str) -> None:
    """Check that something was made with a supernet of these dims and shapes; weights don't matter.

    Args:
        supernet: the one at hand.
        digest: `digest_supernet` of the one that it was made with.
        error: the class of the error raised.
        what: what was done with which kind of thing, for the message: "the profile was measured on".
        cure: how to get one of this supernet.

    Raises:
        error: it was another.
    """
    given = digest_supernet(supernet)
    if given != digest:
        raise error(f"{what} supernet {digest}, this one is {given}: other dims or shapes; {cure}")


def digest_weights(supernet: Supernet) -> str:
    """Sixteen hexadecimal digits for a supernet's weights: accuracies that were measured belong to them."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(supernet.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def save_supernet(supernet: Supernet, source: SupernetSource, folder: str | Path) -> Path:
    """Write `supernet.json` and `supernet.safetensors` into `folder`, whole or not at all.

    Args:
        supernet: built from `source`, perhaps trained and sorted since.
        source: what it was made from.
        folder: made where it is missing; other files in it stay.
    """
    folder = Path(folder)
    with staged(folder) as stage:
        digest = save_weights(supernet.model, stage / _WEIGHTS)
        described = {
            "kind": "elastic supernet",
            "source": source.untrained().to_dict(),
            "supernet_digest": digest_supernet(supernet),
            "weights_sha256": digest,
            "torch": torch.__version__,
        }
        write_json(stage / _JSON, described)
    return folder


def load_source(folder: str | Path) -> SupernetSource:
    """What the supernet in `folder`, or the one of that name, is made from.

    Raises:
        CheckpointError: `folder` has no `supernet.json`, or a broken one.
    """
    if is_name(folder):
        return SupernetSource(str(folder))
    return SupernetSource.from_dict(_described(Path(folder))["source"])


def load_supernet(folder: str | Path) -> Supernet:
    """A supernet with its weights, in eval mode, its largest subnet active.

    Args:
        folder: what `save_supernet` wrote; or a named supernet's name, for its pretrained weights.

    Raises:
        CheckpointError: a folder without a supernet; a truncated, altered or foreign file; a supernet that this
            version builds with other dims; or a name whose weights can't be had.
    """
    if is_name(folder):
        return SupernetSource(str(folder), {"pretrained": True}).build().eval()
    folder = Path(folder)
    described = _described(folder)
    supernet = SupernetSource.from_dict(described["source"]).build()
    load_weights(supernet.model, folder / _WEIGHTS, described["weights_sha256"])
    if digest_supernet(supernet) != described["supernet_digest"]:
        raise CheckpointError(f"{folder}: the recipe offers other dims than when it was saved; train it again")
    return supernet.eval()


def is_name(folder: str | Path) -> bool:
    """Whether it is the name of a supernet that a package offers, and no folder."""
    return not Path(folder).exists() and find_supernet(str(folder)) is not None


def _described(folder: Path) -> dict[str, Any]:
    wanted = "a supernet's description (elastic fit writes one), or a name that elastic zoo list shows"
    described = read_json(folder / _JSON, CheckpointError, wanted)
    missing = {"source", "supernet_digest", "weights_sha256"} - described.keys()
    if missing:
        raise CheckpointError(f"{folder / _JSON} isn't a supernet's description: it lacks {sorted(missing)}")
    return described
