"""How a supernet learns: the Lightning module, curricula, samplers, losses, data and the command line.

Public names are imported on first use, so that the command line answers without waiting for Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.adversary import Adversary
    from trainers.attacks import Threat
    from trainers.checkpoints import load_supernet
    from trainers.conflicts import GradientProjection
    from trainers.curriculum import Curriculum, Phase
    from trainers.data import SupernetData
    from trainers.digits import Digits
    from trainers.distillers import AlphaDivergence, Distiller, NoDistiller, SoftTargets
    from trainers.glue import Glue
    from trainers.hidden_states import HiddenStates
    from trainers.image_data import ImageDataModule
    from trainers.macs_samplers import BalancedSampler, ComplexityWalkSampler, ParetoSampler
    from trainers.module import SupernetModule
    from trainers.optimizers import OptimizerOptions
    from trainers.robust_distillers import ARD, RSLAD, AdaAD
    from trainers.robust_losses import HAT, MART, PGDAT, TRADES, RobustLoss
    from trainers.robustness import RobustAccuracy
    from trainers.samplers import (
        NestedSampler,
        RoundRobinSampler,
        Sampler,
        SandwichSampler,
        StrictlyFairSampler,
        UniformSampler,
    )
    from trainers.steps import StepOptions
    from trainers.teachers import InPlaceTeacher, ModelTeacher, SnapshotTeacher, Teacher
    from trainers.timm_data import TimmData
    from trainers.validation import ValidationOptions

__all__ = [
    "ARD",
    "HAT",
    "MART",
    "PGDAT",
    "RSLAD",
    "TRADES",
    "AdaAD",
    "Adversary",
    "AlphaDivergence",
    "BalancedSampler",
    "ComplexityWalkSampler",
    "Curriculum",
    "Digits",
    "Distiller",
    "Glue",
    "GradientProjection",
    "HiddenStates",
    "ImageDataModule",
    "InPlaceTeacher",
    "ModelTeacher",
    "NestedSampler",
    "NoDistiller",
    "OptimizerOptions",
    "ParetoSampler",
    "Phase",
    "RobustAccuracy",
    "RobustLoss",
    "RoundRobinSampler",
    "Sampler",
    "SandwichSampler",
    "SnapshotTeacher",
    "SoftTargets",
    "StepOptions",
    "StrictlyFairSampler",
    "SupernetData",
    "SupernetModule",
    "Teacher",
    "Threat",
    "TimmData",
    "UniformSampler",
    "ValidationOptions",
    "load_supernet",
]

_HOMES = {
    "adversary": ("Adversary",),
    "attacks": ("Threat",),
    "checkpoints": ("load_supernet",),
    "conflicts": ("GradientProjection",),
    "curriculum": ("Curriculum", "Phase"),
    "data": ("SupernetData",),
    "digits": ("Digits",),
    "distillers": ("AlphaDivergence", "Distiller", "NoDistiller", "SoftTargets"),
    "glue": ("Glue",),
    "hidden_states": ("HiddenStates",),
    "image_data": ("ImageDataModule",),
    "macs_samplers": ("BalancedSampler", "ComplexityWalkSampler", "ParetoSampler"),
    "module": ("SupernetModule",),
    "optimizers": ("OptimizerOptions",),
    "robust_distillers": ("ARD", "RSLAD", "AdaAD"),
    "robust_losses": ("HAT", "MART", "PGDAT", "TRADES", "RobustLoss"),
    "robustness": ("RobustAccuracy",),
    "samplers": (
        "NestedSampler",
        "RoundRobinSampler",
        "Sampler",
        "SandwichSampler",
        "StrictlyFairSampler",
        "UniformSampler",
    ),
    "steps": ("StepOptions",),
    "teachers": ("InPlaceTeacher", "ModelTeacher", "SnapshotTeacher", "Teacher"),
    "timm_data": ("TimmData",),
    "validation": ("ValidationOptions",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"trainers.{home}"), name)
    raise AttributeError(f"module 'trainers' has no attribute {name!r}")
