"""Loading an exported subnet again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from elastic.errors import CheckpointError
from elastic.supernet.source import SupernetSource
from elastic.supernet.subnet_folder import CONFIG, load_subnet_weights, read_config


def load_subnet(folder: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The subnet that `export` wrote with its `arch` and `source`, in eval mode, and its `config.json`.

    Builds the supernet, cuts the arch out and loads the weights strictly.

    Raises:
        CheckpointError: a folder without a subnet, or a truncated, altered or foreign file.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config.get("source") is None or config.get("arch") is None:
        raise CheckpointError(f"{folder / CONFIG} doesn't say source and arch; export again with source=..., arch=...")
    supernet = SupernetSource.from_dict(config["source"]).build()
    subnet = supernet.extract(config["arch"]).eval()
    load_subnet_weights(subnet, folder)
    return subnet, config
