"""How a supernet learns: the Lightning module, curricula, samplers, losses, data and the command line.

Public names are imported on first use, so that the command line answers without waiting for Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.checkpoints import load_supernet
    from trainers.curriculum import Curriculum, Phase
    from trainers.data import ImageDataModule
    from trainers.digits import Digits
    from trainers.distillers import Distiller, NoDistiller, SoftTargets
    from trainers.module import SupernetModule
    from trainers.optimizers import OptimizerOptions
    from trainers.samplers import Sampler, SandwichSampler
    from trainers.timm_data import TimmData
    from trainers.validation import ValidationOptions

__all__ = [
    "Curriculum",
    "Digits",
    "Distiller",
    "ImageDataModule",
    "NoDistiller",
    "OptimizerOptions",
    "Phase",
    "Sampler",
    "SandwichSampler",
    "SoftTargets",
    "SupernetModule",
    "TimmData",
    "ValidationOptions",
    "load_supernet",
]

_HOMES = {
    "checkpoints": ("load_supernet",),
    "curriculum": ("Curriculum", "Phase"),
    "data": ("ImageDataModule",),
    "digits": ("Digits",),
    "distillers": ("Distiller", "SoftTargets", "NoDistiller"),
    "module": ("SupernetModule",),
    "optimizers": ("OptimizerOptions",),
    "samplers": ("Sampler", "SandwichSampler"),
    "timm_data": ("TimmData",),
    "validation": ("ValidationOptions",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"trainers.{home}"), name)
    raise AttributeError(f"module 'trainers' has no attribute {name!r}")
