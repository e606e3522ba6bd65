"""The folder of an exported subnet: its description, and its weights for a model that has been cut out already."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from elastic.errors import CheckpointError
from elastic.space.sizes import Number
from elastic.supernet.places import KIND, SUBNET, WANTED, check_place
from elastic.support.reading import read_json
from elastic.support.records import from_plain
from elastic.support.weights import load_weights

WEIGHTS = "model.safetensors"
_FORMER_METRICS = "figures"
"""Name of the metrics in older files."""


_LONGEST = 1 << 16
"""The longest input along one axis."""


@dataclass(frozen=True)
class _Card:
    title: str = ""
    data: str = ""
    license: str = ""
    text: str = ""
    classes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Config:
    """The types of what is read in `config.json`; other fields are the model's library's."""

    files: dict[str, dict[str, Any]]
    source: dict[str, Any] | None = None
    arch: dict[str, Number] | None = None
    arch_id: str | None = None
    input_size: list[int] | None = None
    inputs: list[str] = field(default_factory=list)
    preprocessing: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float | int | str] = field(default_factory=dict)
    card: _Card = field(default_factory=_Card)
    latency: dict[str, Any] = field(default_factory=dict)
    loader: list[str] = field(default_factory=list)
    native: str = ""


def read_subnet_config(folder: str | Path) -> dict[str, Any]:
    """The `config.json` of an exported folder.

    Raises:
        CheckpointError: there is none, or it is broken.
    """
    check_place(folder, SUBNET)
    path = Path(folder) / SUBNET
    config = read_json(path, CheckpointError, WANTED[SUBNET])
    if config.get("kind") != KIND or "files" not in config:
        raise CheckpointError(f"{path} isn't an exported subnet: its kind is {config.get('kind')!r}, wanted {KIND!r}")
    if _FORMER_METRICS in config:
        config["metrics"] = config.pop(_FORMER_METRICS)
    try:
        checked = from_plain(config, _Config)
    except ValueError as error:
        raise CheckpointError(f"{path} is a broken description of a subnet ({error}); export it again") from error
    if checked.input_size is not None and not all(0 < length <= _LONGEST for length in checked.input_size):
        raise CheckpointError(f"{path}: input_size is {checked.input_size}, wanted lengths of 1 to {_LONGEST}")
    return config


def load_subnet_weights(subnet: nn.Module, folder: str | Path) -> None:
    """Load the weights of an exported folder into `subnet`, strictly.

    Raises:
        CheckpointError: a folder without weights; or a truncated, altered or foreign file.
    """
    files = read_subnet_config(folder)["files"]
    if WEIGHTS not in files:
        raise CheckpointError(f"{folder} holds no {WEIGHTS}; export again with the format safetensors")
    load_weights(subnet, Path(folder) / WEIGHTS, str(files[WEIGHTS].get("sha256")))
