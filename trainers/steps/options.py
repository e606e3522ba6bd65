"""Options of an optimiser step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elastic.errors import TrainingError
from trainers.steps.conflicts import GradientProjection


@dataclass(frozen=True)
class StepOptions:
    """Options of a step.

    Attributes:
        accumulate: batches per step; their gradients are averaged.
        dropout: whose dropout and drop-path are on: the largest subnet's only, or every subnet's. The smaller ones
            have no capacity to spare (BigNAS, arXiv:2003.11142).
        projection: take from the largest subnet's gradient what works against the others'; null: plain sum.
        average: decay per step of an exponential moving average of the weights, such as 0.999; validation and the
            saved supernet then have the averaged weights. null: none.
        channels_last: keep images and weights in channels-last order, which convolutions on GPUs in half precision
            are faster in.
        sync_batchnorm: normalise by the statistics of the whole batch over all processes.
        compile: run each kind of block as compiled code, one graph for all its widths; true, or a backend of
            `torch.compile` (true is inductor, which needs a C++ compiler on CPUs).
        cosines_every: log every so many steps how far each subnet's gradient agrees with the first one's (a
            sandwich's largest), on the step's first batch; null: never.
    """

    accumulate: int = 1
    dropout: Literal["largest", "all"] = "largest"
    projection: GradientProjection | None = None
    average: float | None = None
    channels_last: bool = False
    sync_batchnorm: bool = False
    compile: bool | str = False
    cosines_every: int | None = None

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise TrainingError(f"step.accumulate counts batches, 1 or more; got {self.accumulate}")
        if self.average is not None and not 0 < self.average < 1:
            raise TrainingError(f"step.average is a decay between 0 and 1 such as 0.999; got {self.average}")
        if self.compile and self.sync_batchnorm:
            raise TrainingError(
                "step.compile and step.sync_batchnorm exclude each other: compiled blocks can't wait for other ranks; "
                "choose one of them"
            )
        if self.cosines_every is not None and self.cosines_every < 1:
            raise TrainingError(f"step.cosines_every counts steps, 1 or more; got {self.cosines_every}")
