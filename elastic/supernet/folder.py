"""Supernets in folders: `supernet.json` says what one is made from, `supernet.safetensors` holds its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from elastic.errors import CheckpointError, LayoutError, PackageError, first_line
from elastic.space.sizes import Lookup
from elastic.supernet.places import SUPERNET, WANTED, check_place
from elastic.supernet.registry import named_supernet, supernet_names
from elastic.supernet.source import SupernetSource
from elastic.supernet.supernet import Supernet
from elastic.support.files import staged, write_json
from elastic.support.reading import read_json
from elastic.support.weights import load_weights, save_weights
from elastic.upstream.versions import library_versions

_WEIGHTS = "supernet.safetensors"
_UNBUILDABLE = (
    LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError, AssertionError, MemoryError,
    OSError, ImportError,
)  # fmt: skip
"""What is raised where no model can be built of the arguments in an altered file; `RecipeError` is a `LookupError`."""


def digest_supernet(supernet: Supernet) -> str:
    """Sixteen hexadecimal digits for a supernet's dims and full tensor shapes: measurements belong to it.

    What follows a dim, and whether weights are scaled, count where they aren't as usual.
    """
    dims = [(dim.name, list(dim.choices)) for dim in supernet.space.dims]
    shapes = [(name, list(tensor.shape)) for name, tensor in supernet.model.state_dict().items()]
    tables = [(name, one.part, one.table) for name, one in supernet.layout.derived.items() if isinstance(one, Lookup)]
    options: dict[str, Any] = {"couple": tables, "width_scaling": supernet.recipe.width_scaling}
    if supernet.recipe.inputs:
        options["inputs"] = [asdict(one) for one in supernet.recipe.inputs]
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


def save_supernet(
    supernet: Supernet,
    source: SupernetSource,
    folder: str | Path,
    batchnorm: Mapping[str, Any] | None = None,
    finished: bool | None = None,
    classes: Sequence[str] = (),
) -> Path:
    """Write `supernet.json` and `supernet.safetensors` into `folder`, whole or not at all.

    The layout is written out, so that loading runs neither the recipe nor discovery again: newer versions of the
    libraries can't make another supernet of it. Only a recipe with a transform or `settle` of your own that isn't
    registered (see `elastic.layout.saved.register_code`) is built anew when it is loaded.

    Args:
        supernet: built from `source`, perhaps trained and sorted since.
        source: what it was made from.
        folder: made where it is missing; other files in it stay.
        batchnorm: how the BatchNorm statistics of its subnets are re-estimated, as plain JSON values for whoever
            trained it: empty for training images as they are; None where it isn't known.
        finished: whether its training has ended as planned; None where there was none.
        classes: names of the classes that it was trained on, by their numbers; empty where they aren't known.
    """
    folder = Path(folder)
    with staged(folder) as stage:
        digest = save_weights(supernet.model, stage / _WEIGHTS)
        described = {
            "kind": "elastic supernet",
            "source": source.to_save(supernet).to_dict(),
            "supernet_digest": digest_supernet(supernet),
            "weights_sha256": digest,
            "batchnorm": None if batchnorm is None else dict(batchnorm),
            "finished": finished,
            "classes": list(classes),
            "versions": library_versions(),
        }
        write_json(stage / SUPERNET, described)
    return folder


def mark_finished(folder: str | Path) -> None:
    """Write down that the training of the supernet in `folder` has ended as planned.

    Raises:
        CheckpointError: there is no supernet.
    """
    write_json(Path(folder) / SUPERNET, {**read_description(folder), "finished": True})


def load_supernet(folder: str | Path) -> Supernet:
    """A supernet with its weights, in eval mode, its largest subnet active.

    Args:
        folder: what `save_supernet` wrote; or a named supernet's name, for its pretrained weights.

    Raises:
        CheckpointError: a folder without a supernet; a truncated, altered or foreign file; a model that the installed
            libraries build with other parts; or a name whose weights can't be had.
    """
    if named_supernet(folder) is not None:
        return load_named(str(folder))
    return load_described(folder, read_description(folder))


def load_named(name: str) -> Supernet:
    """The supernet of that name with its pretrained weights, as `load_supernet` gives it.

    Raises:
        CheckpointError: the weights can't be had.
    """
    return SupernetSource(name, {"pretrained": True}).build().eval()


def load_described(folder: str | Path, described: Mapping[str, Any]) -> Supernet:
    """The supernet in a folder whose description has been read, as `load_supernet` gives it.

    Args:
        folder: what `save_supernet` wrote.
        described: what `read_description` read there.

    Raises:
        CheckpointError: as for `load_supernet`.
    """
    folder = Path(folder)
    supernet = build_saved(SupernetSource.from_dict(described["source"]), folder, described.get("versions"))
    load_weights(supernet.model, folder / _WEIGHTS, described["weights_sha256"])
    if digest_supernet(supernet) != described["supernet_digest"]:
        raise CheckpointError(
            f"{folder}: the model or its recipe has other sizes than when it was saved"
            f"{_differences(described.get('versions'))}; install those versions, or train it again"
        )
    return supernet.eval()


def build_saved(source: SupernetSource, place: object, versions: Mapping[str, str] | None = None) -> Supernet:
    """The supernet of a saved source, with fresh weights.

    Args:
        source: read from a file.
        place: the file or its folder, for the message.
        versions: of the libraries when it was saved.

    Raises:
        CheckpointError: the model that the installed libraries build isn't the one whose layout was saved.
    """
    try:
        return source.build()
    except (CheckpointError, PackageError):
        raise
    except LayoutError as error:
        raise CheckpointError(
            f"{place}: the layout doesn't fit the model that is built here ({error})"
            f"{_differences(versions)}; install those versions, or train it again"
        ) from error
    except _UNBUILDABLE as error:
        raise CheckpointError(
            f"{place}: {source.model} can't be built of what was saved ({first_line(error)})"
            f"{_differences(versions)}; the file was altered, or install those versions"
        ) from error


def _differences(versions: Mapping[str, str] | None) -> str:
    """Libraries of other versions than those that something was saved with, as the end of a sentence."""
    here = library_versions()
    found = [
        f"{name} {then} (here {here.get(name)})" for name, then in (versions or {}).items() if then != here.get(name)
    ]
    return f"; it was saved with {', '.join(found)}" if found else ""


def read_description(folder: str | Path) -> dict[str, Any]:
    """The content of `supernet.json` in `folder`.

    Raises:
        CheckpointError: there is none, or a broken one.
    """
    check_place(folder, SUPERNET, supernet_names)
    path = Path(folder) / SUPERNET
    described = read_json(path, CheckpointError, WANTED[SUPERNET])
    missing = {"source", "supernet_digest", "weights_sha256"} - described.keys()
    if missing:
        raise CheckpointError(f"{path} isn't a supernet's description: it lacks {sorted(missing)}")
    classes = described.setdefault("classes", [])  # older files have none
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise CheckpointError(f"{path}: classes are {classes!r:.80}, wanted a list of names; it was altered")
    return described
