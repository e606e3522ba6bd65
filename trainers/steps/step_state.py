"""The state of one optimiser step."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from elastic import Arch
from trainers.steps.diagnosis import GradientCosines


@dataclass
class OptimizerStep:
    """The state of an optimiser step, shared by its batches.

    Attributes:
        number: the optimiser step.
        epoch: where in the training it is, counted from 0 with fractions.
        seed: of what it draws, other on each rank.
        archs: the subnets trained, in order; filled by the first batch.
        losses: of each subnet, summed over the batches: `(len(archs),)`.
        largest: with a projection, the largest subnet's gradients, apart from the others'.
        cosines: with `cosines_every`, of this step.
    """

    number: int
    epoch: float = 0.0
    seed: tuple[int, ...] = (0,)
    archs: list[Arch] = field(default_factory=list)
    losses: Tensor | None = None
    largest: list[Tensor] = field(default_factory=list)
    cosines: GradientCosines | None = None
