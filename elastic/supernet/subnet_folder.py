"""The folder of an exported subnet: its description, and its weights for a model that has been cut out already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from elastic.errors import CheckpointError
from elastic.support.files import near_folder
from elastic.support.reading import read_json
from elastic.support.weights import load_weights

KIND = "elastic subnet"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_WANTED = "an exported subnet (elastic extract writes one)"
_FORMER_METRICS = "figures"
"""What older files call the metrics."""


def read_subnet_config(folder: str | Path) -> dict[str, Any]:
    """The `config.json` of an exported folder.

    Raises:
        CheckpointError: there is none, or it is broken.
    """
    path = Path(folder) / CONFIG
    if not Path(folder).exists():
        raise CheckpointError(f"there is no folder {folder}; {near_folder(folder, CONFIG, _WANTED)}")
    config = read_json(path, CheckpointError, _WANTED)
    if config.get("kind") != KIND or "files" not in config:
        raise CheckpointError(f"{path} isn't an exported subnet: its kind is {config.get('kind')!r}, wanted {KIND!r}")
    if _FORMER_METRICS in config:
        config["metrics"] = config.pop(_FORMER_METRICS)
    return config


def load_subnet_weights(subnet: nn.Module, folder: str | Path) -> None:
    """Load the weights of an exported folder into `subnet`, strictly.

    Raises:
        CheckpointError: a folder without weights; or a truncated, altered or foreign file.
    """
    files = read_subnet_config(folder)["files"]
    if WEIGHTS not in files:
        raise CheckpointError(f"{folder} holds no {WEIGHTS}; export again with the format safetensors")
    load_weights(subnet, Path(folder) / WEIGHTS, files[WEIGHTS]["sha256"])
