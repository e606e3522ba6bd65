"""The optimiser, built from plain options; its learning rate comes from the curriculum, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from timm.optim import param_groups_weight_decay
from torch import nn
from torch.optim import SGD, AdamW, Optimizer


@dataclass(frozen=True)
class OptimizerOptions:
    """How gradients become updates.

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

    def build(self, model: nn.Module, learning_rate: float) -> Optimizer:
        """The optimiser of all parameters of `model`, in one pass over them."""
        exempt = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()  # type: ignore[operator]
        groups = param_groups_weight_decay(model, self.weight_decay, no_weight_decay_list=list(exempt))
        if self.name == "adamw":
            return AdamW(groups, lr=learning_rate, betas=(self.momentum, 0.999), fused=True)
        return SGD(groups, lr=learning_rate, momentum=self.momentum, nesterov=self.momentum > 0, fused=True)
