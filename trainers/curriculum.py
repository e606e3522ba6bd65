"""Curricula: the order in which a supernet's subnets are trained, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elastic import SearchSpace
from elastic.errors import TrainingError
from elastic.sizes import Number


@dataclass(frozen=True)
class Phase:
    """A part of the training with its own choices and learning rate.

    Attributes:
        name: shown in the progress bar, and kept in checkpoints.
        epochs: passes over the training data.
        learning_rate: its peak, reached after the warm-up.
        warmup_epochs: epochs of linear warm-up, at the start of the phase.
        final_learning_rate: where the cosine after the warm-up ends.
        choices: what is trained, by kind, name or glob (see `SearchSpace.narrow`); {} is everything.
    """

    name: str = "everything"
    epochs: int = 10
    learning_rate: float = 0.1
    warmup_epochs: float = 0.0
    final_learning_rate: float = 0.0
    choices: Mapping[str, list[Number]] = field(default_factory=dict)

    def narrow(self, space: SearchSpace) -> SearchSpace:
        """The part of `space` that this phase trains.

        Raises:
            ArchError: a key that names no dim, or no choice left for a dim.
        """
        return space.narrow(self.choices) if self.choices else space

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of the phase's `step` (from 0): linear warm-up, then one cosine."""
        warmup = round(self.warmup_epochs * steps_per_epoch)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        rest = max(self.epochs * steps_per_epoch - warmup, 1)
        cosine = (1 + math.cos(math.pi * min((step - warmup) / rest, 1.0))) / 2
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * cosine


@dataclass(frozen=True)
class Curriculum:
    """The phases in their order.

    Attributes:
        phases: at least one.
        scale: factor on every phase's epochs and warm-up, for a shorter or longer run of the same shape.
    """

    phases: Sequence[Phase] = field(default_factory=lambda: [Phase()])
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.phases:
            raise TrainingError("a curriculum has no phases; give it at least one, such as {epochs: 10}")
        for phase in self.phases:
            if phase.epochs < 1 or phase.learning_rate <= 0 or not 0 <= phase.warmup_epochs <= phase.epochs:
                raise TrainingError(
                    f"phase {phase.name!r}: wanted epochs ≥ 1, learning_rate > 0 and 0 ≤ warmup_epochs ≤ epochs, "
                    f"got {phase.epochs}, {phase.learning_rate} and {phase.warmup_epochs}"
                )
        if self.scale <= 0:
            raise TrainingError(f"a curriculum's scale is a factor above 0, got {self.scale}")

    def scaled(self) -> list[Phase]:
        """The phases as they run: epochs × scale, one at least."""
        return [
            Phase(
                phase.name,
                (epochs := max(round(phase.epochs * self.scale), 1)),
                phase.learning_rate,
                min(phase.warmup_epochs * self.scale, epochs),
                phase.final_learning_rate,
                phase.choices,
            )
            for phase in self.phases
        ]

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.scaled())

    def at(self, step: int, steps_per_epoch: int) -> tuple[Phase, int]:
        """The phase that trains optimiser step `step`, and the step's number within it; the last phase never ends."""
        phases = self.scaled()
        for phase in phases[:-1]:
            length = phase.epochs * steps_per_epoch
            if step < length:
                return phase, step
            step -= length
        return phases[-1], step
