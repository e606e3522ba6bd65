"""Check of Lightning's strategy: it must keep whole parameters."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from elastic.errors import TrainingError

SHARDING = (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)
"""A subnet's slice of a parameter would lie on several ranks, and on each another part of it."""


def check_strategy(trainer: Trainer) -> None:
    """Ask before Lightning wraps the model (in `setup`): every strategy that keeps whole parameters passes.

    Raises:
        TrainingError: a strategy that spreads parameters over ranks, or Lightning's own synchronised BatchNorm,
            which puts plain layers in the elastic ones' places.
    """
    strategy = trainer.strategy
    if isinstance(strategy, SHARDING):
        raise TrainingError(
            f"{type(strategy).__name__} spreads each parameter over the ranks, and a supernet's subnets are slices of "
            "whole parameters; train with --trainer.strategy ddp, on one node or several"
        )
    if getattr(strategy, "_layer_sync", None) is not None:  # what the trainer's option sets, and nothing public
        raise TrainingError(
            "the trainer's sync_batchnorm would replace elastic layers by plain ones of full size; "
            "set --trainer.sync_batchnorm false, and --model.step.sync_batchnorm true for the same statistics"
        )
