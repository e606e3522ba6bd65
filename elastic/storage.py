"""Files: written whole or not at all, and supernets in folders.

A supernet's folder holds `supernet.json` (what it is made from) and `supernet.safetensors` (its weights).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from elastic.building import SupernetSource
from elastic.errors import CheckpointError
from elastic.named import find_supernet
from elastic.sizes import Lookup
from elastic.supernet import Supernet

_JSON, _WEIGHTS = "supernet.json", "supernet.safetensors"

_STAGED, _READY, _RANDOM = ".staged-", ".ready-", "?" * 8
"""What folders are called: of files that are being written, and of whole ones that move in; what `tempfile` appends."""
_BEFORE, _GONE = ".before", ".gone"
"""Folders in these: of the files that were there before, and of the names of those to remove."""
_STALE = 24 * 3600.0
"""Nobody writes into a stage for so many seconds: its process was killed."""


# --- written whole or not at all ----------------------------------------------------------------------------


@contextmanager
def staged(folder: str | Path) -> Iterator[Path]:
    """A folder to write files into; once the block ends well, they move into `folder`, all of them or none.

    Where the block or a move fails (a full disk, Ctrl-C), what was in `folder` before is as it was. Where the process
    is killed between two moves, whoever next stages files or reads JSON there ends them. Other files in `folder` stay,
    but for those that `remove_with` names. An OSError that doesn't say where it happened is made to name `folder`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _settle(folder)
    _sweep(folder)
    stage = Path(tempfile.mkdtemp(prefix=_STAGED, dir=folder))  # inside: a rename must not cross file systems
    try:
        yield stage
        _move_in(stage)
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def remove_with(stage: Path, name: str) -> None:
    """Let the folder's file `name` go in the moment in which what is staged moves in."""
    (stage / _GONE).mkdir(exist_ok=True)
    (stage / _GONE / name).touch()


def _move_in(stage: Path) -> None:
    """Move what is staged into the folder around it, or leave that as it was."""
    names = _staged_names(stage)
    _keep_former(stage, names)
    # one atomic step: from here on the new files count, whoever moves them
    ready = stage.rename(stage.with_name(stage.name.replace(_STAGED, _READY)))
    try:
        _end_moves(ready, names)
    except BaseException:
        _take_back(ready, names)
        raise
    _drop(ready)


def _staged_names(stage: Path) -> list[str]:
    """What is to move, descriptions last: whoever reads one finds the files that it describes."""
    names = {path.name for path in stage.iterdir()} - {_BEFORE, _GONE}
    return sorted(names, key=lambda name: (name.endswith(".json"), name))


def _keep_former(stage: Path, names: list[str]) -> None:
    """Keep the folder's files that are to be replaced or removed, beside those that are staged."""
    before = stage / _BEFORE
    before.mkdir()
    for name in [*names, *(path.name for path in (stage / _GONE).glob("*"))]:
        former = stage.parent / name
        if former.is_file():
            try:
                (before / name).hardlink_to(former)
            except OSError:  # a file system without links
                shutil.copy2(former, before / name)


def _end_moves(ready: Path, names: list[str]) -> None:
    """Several processes may do so at once: what isn't there any more, another one has moved."""
    for path in (ready / _GONE).glob("*"):
        (ready.parent / path.name).unlink(missing_ok=True)
    for name in names:
        with suppress(FileNotFoundError):
            (ready / name).replace(ready.parent / name)


def _take_back(ready: Path, names: list[str]) -> None:
    """Make the folder what it was before; until that is done, nothing of the new files is lost either."""
    for name in names:
        if not (ready / name).exists():
            (ready.parent / name).replace(ready / name)
    for path in (ready / _BEFORE).glob("*"):
        path.replace(ready.parent / path.name)
    _drop(ready)


def _drop(ready: Path) -> None:
    """Remove a folder whose moves are ended: by its name first, so that nobody ends them again with what is left."""
    stage = ready.with_name(ready.name.replace(_READY, _STAGED))
    with suppress(FileNotFoundError):  # another process was faster
        ready.rename(stage)
    shutil.rmtree(stage, ignore_errors=True)


def _settle(folder: Path) -> None:
    """End the moves of a process that was killed between two of them."""
    for ready in folder.glob(_READY + _RANDOM):
        with suppress(FileNotFoundError):  # another process was faster
            _end_moves(ready, _staged_names(ready))
            _drop(ready)


def _sweep(folder: Path) -> None:
    """Remove what processes had staged that were killed; what is younger may be of one that is at work."""
    for stage in folder.glob(_STAGED + _RANDOM):
        with suppress(FileNotFoundError):
            if time.time() - stage.stat().st_mtime > _STALE:
                shutil.rmtree(stage, ignore_errors=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file beside `path`, then rename it: `path` is never half written."""
    path = Path(path)
    with staged(path.parent) as stage:
        (stage / path.name).write_text(text, encoding="utf-8")
    return path


def write_json(path: str | Path, values: Any) -> Path:
    """Write readable JSON, whole or not at all."""
    return write_text(path, json.dumps(values, indent=1) + "\n")


def read_json(path: str | Path, error: type[Exception], wanted: str) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: the file.
        error: the class of the errors raised.
        wanted: what the file should be, for the message: "a device profile".

    Raises:
        error: no such file, not JSON, or not an object.
        OSError: it may not be read, or files that a killed process left beside it may not be moved in.
    """
    _settle(Path(path).parent)
    try:
        values = json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError as missing:
        raise error(f"{path} doesn't exist; wanted {wanted}") from missing
    except (json.JSONDecodeError, UnicodeDecodeError, IsADirectoryError) as broken:
        raise error(f"{path} isn't {wanted}: {broken}; it may be truncated, make it again") from broken
    if not isinstance(values, dict):
        raise error(f"{path} isn't {wanted}: it holds a {type(values).__name__}, not a JSON object")
    return values


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


def sha256(path: Path) -> str:
    """A file's SHA-256, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


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
