"""Curricula: the order in which a supernet's subnets are trained, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from elastic import SearchSpace
from elastic.errors import TrainingError
from elastic.space.sizes import Number
from trainers.methods.loss import SubnetLoss
from trainers.methods.samplers import Sampler


@dataclass(frozen=True)
class Phase:
    """A part of the training with its own choices and learning rate; it starts with a fresh optimiser.

    Attributes:
        name: shown in the progress bar, and kept in checkpoints.
        epochs: passes over the training data.
        learning_rate: its peak, reached after the warm-up.
        warmup_epochs: epochs of linear warm-up, at the start of the phase.
        final_learning_rate: where the schedule after the warm-up ends.
        schedule: how the learning rate falls after the warm-up.
        choices: what is trained, by kind, name or glob (see `SearchSpace.narrow`); {} is everything.
        largest: how many of the largest choices are trained, by kind, name or glob: {depth: 1} keeps depth full.
        sort: before the phase, put the units that matter most first: by this norm of the weights that read them, or by
            the loss on the first validation batches (taylor; see `elastic.importance`), a held-out part of the training
            data only where the data's validation part is one; they stay within the widths that earlier phases have
            trained.
        sampler: which subnets its steps train; null: the training's.
        distiller: the loss of its subnets: a distiller, or a robust loss; null: the training's.
    """

    name: str = "everything"
    epochs: int = 10
    learning_rate: float = 0.1
    warmup_epochs: float = 0.0
    final_learning_rate: float = 0.0
    schedule: Literal["cosine", "linear"] = "cosine"
    choices: Mapping[str, list[Number]] = field(default_factory=dict)
    largest: Mapping[str, int] = field(default_factory=dict)
    sort: Literal["l1", "l2", "taylor"] | None = None
    sampler: Sampler | None = None
    distiller: SubnetLoss | None = None

    def narrow(self, space: SearchSpace) -> SearchSpace:
        """The part of `space` that this phase trains.

        Raises:
            ArchError: a key that names no dim, or no choice left for a dim.
        """
        narrowed = space.narrow(self.choices) if self.choices else space
        kept = {dim.name: dim.choices[-n:] for key, n in self.largest.items() for dim in narrowed.matching(key)}
        return narrowed.narrow(kept) if kept else narrowed

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of the phase's `step` (from 0): linear warm-up, then one cosine or a line."""
        warmup = round(self.warmup_epochs * steps_per_epoch)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        rest = max(self.epochs * steps_per_epoch - warmup, 1)
        gone = min((step - warmup) / rest, 1.0)
        left = 1 - gone if self.schedule == "linear" else (1 + math.cos(math.pi * gone)) / 2
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * left


@dataclass(frozen=True)
class Curriculum:
    """The phases in their order.

    Attributes:
        phases: at least one.
        scale: factor on every phase's epochs and warm-up, for a shorter or longer run of the same shape.
        batch_size: the images per step that the learning rates are meant for; where a step has more or fewer, they
            are scaled in proportion. null: they are taken as they are.
    """

    phases: Sequence[Phase] = field(default_factory=lambda: [Phase()])
    scale: float = 1.0
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if not self.phases:
            raise TrainingError("a curriculum has no phases; give it at least one, such as {epochs: 10}")
        for phase in self.phases:
            if phase.epochs < 1 or phase.learning_rate <= 0 or not 0 <= phase.warmup_epochs <= phase.epochs:
                raise TrainingError(
                    f"phase {phase.name!r}: wanted epochs ≥ 1, learning_rate > 0 and 0 ≤ warmup_epochs ≤ epochs, "
                    f"got {phase.epochs}, {phase.learning_rate} and {phase.warmup_epochs}"
                )
            if any(n < 1 for n in phase.largest.values()):
                raise TrainingError(f"phase {phase.name!r}: largest counts choices, 1 or more; got {phase.largest}")
        names = [phase.name for phase in self.phases]
        if len(set(names)) < len(names):
            raise TrainingError(f"the phases of a curriculum need different names, got {', '.join(names)}")
        if self.scale <= 0:
            raise TrainingError(f"a curriculum's scale is a factor above 0, got {self.scale}")
        if self.batch_size is not None and self.batch_size < 1:
            raise TrainingError(f"a curriculum's batch_size counts images, 1 or more; got {self.batch_size}")

    @cached_property
    def scaled(self) -> list[Phase]:
        """The phases as they run: epochs × scale, one at least."""
        return [_scaled(phase, self.scale) for phase in self.phases]

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.scaled)

    def at(self, step: int, steps_per_epoch: int) -> tuple[int, int]:
        """The place of optimiser step `step`: the phase's index, and the step's number within the phase.

        The last phase never ends.
        """
        last = len(self.scaled) - 1
        for index, phase in enumerate(self.scaled[:last]):
            length = phase.epochs * steps_per_epoch
            if step < length:
                return index, step
            step -= length
        return last, step

    def rate(self, step: int, steps_per_epoch: int, batch_size: int) -> float:
        """The learning rate of optimiser step `step`, which trains `batch_size` images."""
        index, place = self.at(step, steps_per_epoch)
        return self.factor(batch_size) * self.scaled[index].rate(place, steps_per_epoch)

    def factor(self, batch_size: int) -> float:
        """The factor on all learning rates where a step trains `batch_size` images."""
        return 1.0 if self.batch_size is None else batch_size / self.batch_size


def _scaled(phase: Phase, scale: float) -> Phase:
    epochs = max(round(phase.epochs * scale), 1)
    return replace(phase, epochs=epochs, warmup_epochs=min(phase.warmup_epochs * scale, epochs))
