"""Validation: named subnets, each cut out, its BatchNorm re-estimated, and measured as it would be shipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import elastic
from elastic import Arch, SearchSpace, Supernet
from elastic.errors import TrainingError
from elastic.inputs import Inputs, classes_of, predict
from elastic.sizes import Number
from trainers.metrics import MetricName, answers, make_metric


@dataclass(frozen=True)
class ValidationOptions:
    """Which subnets are validated, and how.

    The smallest and the largest subnet of the phase always are.

    Attributes:
        middles: random subnets of the phase beside them; the same ones each time.
        named: subnets of your choice, by name: what differs from the largest, by kind, name or glob (see
            `SearchSpace.variant`), such as {shallow: {depth: 2}}. They are validated in every phase.
        calibration_batches: training batches that BatchNorm statistics are re-estimated on, for each subnet.
        metric: what is measured; null: what the data says, which is accuracy for images.
    """

    middles: int = 2
    named: Mapping[str, dict[str, Number]] = field(default_factory=dict)
    calibration_batches: int = 8
    metric: MetricName | None = None

    def __post_init__(self) -> None:
        if self.middles < 0 or self.calibration_batches < 1:
            raise TrainingError(
                "validation: middles counts subnets, 0 or more, and calibration_batches batches, 1 or more; "
                f"got {self.middles} and {self.calibration_batches}"
            )


@dataclass(frozen=True)
class Result:
    """What validation found out about one subnet.

    Attributes:
        name: `smallest`, `middle_1`, …, `largest`, or the name given to it.
        arch: the subnet.
        macs: of one forward pass on one input.
        params: number of parameters.
        metric: what was measured.
        score: the figure, at most 1.
    """

    name: str
    arch: Arch
    macs: int
    params: int
    metric: str
    score: float


def named_archs(space: SearchSpace, whole: SearchSpace, options: ValidationOptions, seed: int) -> dict[str, Arch]:
    """The subnets to validate, by name; equal ones once, under the first name.

    Args:
        space: the part of the search space that is being trained.
        whole: all of it.
        options: which.
        seed: of the random ones.

    Raises:
        ArchError: a named one that isn't in the whole space.
    """
    named = {"smallest": space.smallest, "largest": space.largest}
    named |= {name: whole.variant(changes) for name, changes in options.named.items()}
    random = space.sample(seed, options.middles) if options.middles else []
    named |= {f"middle_{number}": arch for number, arch in enumerate(random, 1)}
    by_arch: dict[Arch, str] = {}
    for name, arch in named.items():
        by_arch.setdefault(arch, name)
    return {name: arch for arch, name in by_arch.items()}


class Candidate:
    """One subnet under validation: `update` with every batch, then read `result`."""

    def __init__(self, name: str, arch: Arch, supernet: Supernet, metric: str, device: torch.device) -> None:
        self.name = name
        self.arch = arch
        self.supernet = supernet
        self.subnet: nn.Module = supernet.extract(arch).eval()
        self.metric = metric
        self._scores = make_metric(metric, classes_of(supernet.model), device)

    def recalibrate(self, batches: Iterable[Inputs]) -> None:
        """Re-estimate BatchNorm statistics on inputs at full resolution."""
        elastic.recalibrate(self.subnet, self._resized(batches))

    def update(self, inputs: Inputs, labels: Tensor) -> None:
        """Judge the subnet on one batch: inputs at full resolution, labels `(N,)`."""
        for resized in self._resized([inputs]):
            self._scores.update(answers(predict(self.subnet, resized)), labels)

    def result(self) -> Result:
        """The figures over all batches of all ranks."""
        macs, params = self.supernet.macs([self.arch]), self.supernet.params([self.arch])
        score = float(self._scores.compute())
        return Result(self.name, self.arch, int(macs[0]), int(params[0]), self.metric, score)

    def _resized(self, batches: Iterable[Inputs]) -> Iterator[Any]:
        for inputs in batches:
            with self.supernet.active(self.arch):
                resized = self.supernet.resize(inputs)
            yield resized
