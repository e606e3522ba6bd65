"""Loading an exported subnet again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from elastic.errors import CheckpointError
from elastic.space.arch import Arch
from elastic.supernet.folder import build_saved
from elastic.supernet.places import SUBNET
from elastic.supernet.source import SupernetSource
from elastic.supernet.subnet_folder import load_subnet_weights, read_subnet_config
from elastic.supernet.supernet import Supernet


@dataclass(frozen=True, eq=False)
class OpenedSubnet:
    """An exported subnet, and where it comes from.

    Attributes:
        subnet: the model, in evaluation mode.
        config: what its `config.json` says.
        supernet: what it was cut out of, with fresh weights.
        source: what that is made from.
        arch: the subnet's.
    """

    subnet: nn.Module
    config: dict[str, Any]
    supernet: Supernet
    source: SupernetSource
    arch: Arch


def open_subnet(folder: str | Path) -> OpenedSubnet:
    """Open a folder that `export` wrote with `arch` and `source`.

    Builds the supernet, cuts the arch out and loads the weights strictly.

    Raises:
        CheckpointError: a folder without a subnet, or a truncated, altered or foreign file.
    """
    config = read_subnet_config(folder)
    folder = Path(folder)
    if config.get("source") is None or config.get("arch") is None:
        raise CheckpointError(f"{folder / SUBNET} doesn't say source and arch; export again with source=..., arch=...")
    source = SupernetSource.from_dict(config["source"])
    supernet = build_saved(source, folder)
    arch = supernet.space.arch(config["arch"])
    subnet = supernet.extract(arch).eval()
    load_subnet_weights(subnet, folder)
    return OpenedSubnet(subnet, config, supernet, source, arch)


def load_subnet(folder: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The subnet that `export` wrote with its `arch` and `source`, in eval mode, and its `config.json`.

    Raises:
        CheckpointError: as for `open_subnet`.
    """
    opened = open_subnet(folder)
    return opened.subnet, opened.config
