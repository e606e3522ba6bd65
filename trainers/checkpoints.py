"""Checkpoints: written whole or not at all, read without running anything, and enough to build the supernet again."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from elastic import Supernet
from elastic.errors import CheckpointError, first_line
from elastic.supernet.folder import build_saved, digest_supernet, load_supernet
from elastic.supernet.source import SupernetSource
from elastic.support.files import replacing
from elastic.support.weights import UNREADABLE, check_tensors
from elastic.upstream.versions import library_versions

KEY = "elastic"
_PREFIX, _AVERAGED = "supernet.model.", "average.module.model."
_BESIDE = {
    "average.": ("moving average of the weights", "--model.step.average"),
    "teaching.": ("teacher that is a network of its own", "--model.teacher"),
}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the file and renames: a full disk or Ctrl-C leaves the former checkpoint whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write `checkpoint`, whole or not at all.

        Raises:
            OSError: the disk is full, or may not be written to.
        """
        content = io.BytesIO()
        torch.save(checkpoint, content)  # which says little where a disk is full
        with replacing(os.fspath(path)) as beside, beside.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Read a checkpoint of this project, onto the CPU.

        Raises:
            CheckpointError: a file that is missing, truncated or foreign.
        """
        return read_checkpoint(path)


def describe(source: SupernetSource, supernet: Supernet, phase: str) -> dict[str, Any]:
    """A checkpoint's description of its supernet, as plain values."""
    return {
        "source": source.to_save(supernet).to_dict(),
        "digest": digest_supernet(supernet),
        "phase": phase,
        "versions": library_versions(),
    }


def check_description(checkpoint: dict[str, Any], digest: str, origin: str = "the checkpoint") -> None:
    """Check that a checkpoint's supernet has this digest (see `elastic.supernet.folder.digest_supernet`).

    Raises:
        CheckpointError: it has another one.
    """
    if checkpoint[KEY]["digest"] != digest:
        raise CheckpointError(
            f"{origin} holds another supernet: {checkpoint[KEY]['source']['model']} with other dims, sizes or "
            "input; use the model and choices that it was trained with"
        )


def check_beside(checkpoint: dict[str, Any], state: Mapping[str, Tensor]) -> None:
    """Check that a checkpoint has what this training keeps beside the supernet: averaged weights, and a teacher's.

    Args:
        checkpoint: of the same supernet.
        state: the training's `state_dict`.

    Raises:
        CheckpointError: it lacks them, or has others; the message names the option.
    """
    for prefix, (what, option) in _BESIDE.items():
        given, wanted = _shapes(checkpoint["state_dict"], prefix), _shapes(state, prefix)
        if given != wanted:
            had, has = ("a", "another") if given and wanted else ("a", "none") if given else ("no", "one")
            raise CheckpointError(
                f"the checkpoint has {had} {what}, this training has {has}; give {option} as when it was made "
                "(see config.yaml in the run's folder), or begin a run of another --name"
            )


def _shapes(state: Mapping[str, Tensor], prefix: str) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items() if name.startswith(prefix)}


def settle_progress(checkpoint: dict[str, Any]) -> None:
    """Let a checkpoint say plainly whether its last epoch was finished, whichever hook it was made in.

    Lightning 2.6 counts an epoch twice, or a batch too many, where it resumes after `on_train_epoch_end` and
    `max_steps` is set, which makes it take every checkpoint for one made within an epoch.
    """
    fit = checkpoint["loops"]["fit_loop"]
    batches, epochs = fit["epoch_loop.batch_progress"], fit["epoch_progress"]
    finished = batches["is_last_batch"]
    if finished:
        batches.update(current=dict.fromkeys(batches["current"], 0), is_last_batch=False)
    for count in (epochs["total"], epochs["current"]):
        count["processed"] = count["completed"] = count["ready"] if finished else max(count["ready"] - 1, 0)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a checkpoint that training wrote, on the CPU; nothing in it is run.

    Raises:
        CheckpointError: a file that is missing, truncated or foreign.
    """
    try:
        altered = _altered_part(path)
        if altered is not None:
            raise CheckpointError(f"{path} was altered since it was written ({altered}); take another checkpoint")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} doesn't exist; wanted a checkpoint that elastic fit wrote") from error
    except UNREADABLE as error:
        reason = first_line(error).split(". ")[0]
        raise CheckpointError(f"{path} can't be read as a checkpoint ({reason}); it is truncated or foreign") from error
    if not isinstance(checkpoint, dict) or not {KEY, "state_dict"} <= checkpoint.keys():
        keys = sorted(map(str, checkpoint))[:5] if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise CheckpointError(f"{path} isn't a checkpoint of elastic fit: it holds {keys}, without {KEY!r}")
    problem = _problem(checkpoint)
    if problem:
        raise CheckpointError(f"{path} is a broken checkpoint: {problem}; take another one")
    return checkpoint


def _altered_part(path: str | os.PathLike[str]) -> str | None:
    """The part of a checkpoint whose checksum isn't the one that was written with it; None where all are right.

    `torch.save` writes an archive with a CRC-32 of each part, which `torch.load` doesn't compare.
    """
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except _BROKEN_ARCHIVE as error:
        return first_line(error)


_BROKEN_ARCHIVE = (
    zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, EOFError, ValueError, LookupError,
    OverflowError, MemoryError,
)  # fmt: skip


def _problem(checkpoint: Mapping[str, Any]) -> str:
    """What a checkpoint lacks of what training wrote, or has of another type; empty where nothing is missing."""
    about, state = checkpoint[KEY], checkpoint["state_dict"]
    if not isinstance(about, dict) or not isinstance(about.get("source"), dict):
        return f"{KEY!r} doesn't say what the supernet was made from"
    if not all(isinstance(about.get(key), str) for key in ("digest", "phase")):
        return f"{KEY!r} lacks digest or phase"
    if not isinstance(about["source"].get("model"), str):
        return "the source names no model"
    states = about.get("random_states", [])
    if not isinstance(states, list) or not all(
        isinstance(one, dict) and all(isinstance(bits, Tensor) and bits.dtype is torch.uint8 for bits in one.values())
        for one in states
    ):
        return "its random_states aren't those of generators"
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        return "its state_dict holds something else than tensors"
    return ""


def load_from_checkpoint(path: str | os.PathLike[str]) -> Supernet:
    """The trained supernet of a checkpoint or of a run's folder, in eval mode, its largest subnet active.

    Args:
        path: a checkpoint such as `runs/digits/last.ckpt`, or a folder with `supernet.json`.

    Raises:
        CheckpointError: a file that is missing, truncated, foreign or misshapen, or a supernet that this version
            builds with other dims.
    """
    if Path(path).is_dir():
        return load_supernet(Path(path))
    checkpoint = read_checkpoint(path)
    supernet = build_saved(SupernetSource.from_dict(checkpoint[KEY]["source"]), path, checkpoint[KEY].get("versions"))
    state = checkpoint["state_dict"]
    prefix = _AVERAGED if any(name.startswith(_AVERAGED) for name in state) else _PREFIX
    tensors = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    check_tensors(supernet.model, tensors, str(path))
    check_description(checkpoint, digest_supernet(supernet), str(path))
    supernet.model.load_state_dict(tensors)
    return supernet.eval()
