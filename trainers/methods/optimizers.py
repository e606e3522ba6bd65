"""The optimiser, built from plain options; its learning rate comes from the curriculum, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from timm.optim import param_groups_weight_decay
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from elastic.errors import TrainingError


@dataclass(frozen=True)
class OptimizerOptions:
    """Options of the optimiser.

    Attributes:
        name: `sgd` is SGD with Nesterov momentum.
        momentum: of SGD; the first beta of AdamW.
        weight_decay: not applied to norms, biases, and what a timm model lists in `no_weight_decay()`.
        clip_value: each gradient entry is clipped to ± this; None: not at all. BigNAS and AttentiveNAS use 1.
        clip_norm: all gradients together are clipped to this L2 norm; None: not at all.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_value: float | None = 1.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.momentum < 1 and self.weight_decay >= 0):
            raise TrainingError(
                "optimizer: momentum is at least 0 and below 1, weight_decay 0 or more; "
                f"got {self.momentum} and {self.weight_decay}"
            )
        if not all(limit is None or limit > 0 for limit in (self.clip_value, self.clip_norm)):
            raise TrainingError(
                "optimizer: clip_value and clip_norm are above 0, or null for no clipping; "
                f"got {self.clip_value} and {self.clip_norm}"
            )

    def build(self, model: nn.Module, learning_rate: float) -> Optimizer:
        """The optimiser of all parameters of `model`, in one pass over them."""
        exempt = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()  # type: ignore[operator]
        groups = param_groups_weight_decay(model, self.weight_decay, no_weight_decay_list=list(exempt))
        if self.name == "adamw":
            return AdamW(groups, lr=learning_rate, betas=(self.momentum, 0.999), fused=True)
        return SGD(groups, lr=learning_rate, momentum=self.momentum, nesterov=self.momentum > 0, fused=True)


def take_options(optimizer: Optimizer, fresh: Optimizer) -> None:
    """Give an optimiser the options of a fresh one, whatever a checkpoint has put there; its learning rate stays."""
    for group, own in zip(optimizer.param_groups, fresh.param_groups, strict=True):
        group.update({name: value for name, value in own.items() if name not in ("params", "lr")})
