"""Validation: named subnets, each cut out, its BatchNorm re-estimated, and measured as it would be shipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from elastic import Arch, SearchSpace, Supernet
from elastic.errors import TrainingError
from elastic.space.sizes import Number
from elastic.supernet.evaluation import Recalibrate
from elastic.support.inputs import Inputs, predict
from elastic.upstream import library_of
from trainers.data.metric_names import MetricName
from trainers.data.metrics import answers, make_metric
from trainers.methods.adversary import Adversary, check_pixels, seeded
from trainers.steps.extra_batches import calibration_batches


@dataclass(frozen=True)
class ValidationOptions:
    """Options of validation: subnets, calibration, metric and attack.

    The smallest and the largest subnet of the phase are always validated.

    Attributes:
        middles: random subnets of the phase beside them; the same ones each time.
        named: subnets of your choice, by name: what differs from the largest, by kind, name or glob (see
            `SearchSpace.variant`), such as {shallow: {depth: 2}}. They are validated in every phase.
        calibration_batches: training batches that BatchNorm statistics are re-estimated on, for each subnet.
        metric: what is measured; null: what the data says, which is accuracy for images.
        attack: measure the accuracy under this attack, too, made on each subnet by cross-entropy; null: no attack.
        attacked_batches: validation batches that are attacked; an attack of 10 steps costs 30 passes.
    """

    middles: int = 2
    named: Mapping[str, dict[str, Number]] = field(default_factory=dict)
    calibration_batches: int = 8
    metric: MetricName | None = None
    attack: Adversary | None = None
    attacked_batches: int = 8

    def __post_init__(self) -> None:
        if self.middles < 0 or min(self.calibration_batches, self.attacked_batches) < 1:
            raise TrainingError(
                "validation: middles counts subnets, 0 or more, calibration_batches and attacked_batches batches, "
                f"1 or more; got {self.middles}, {self.calibration_batches} and {self.attacked_batches}"
            )


@dataclass(frozen=True)
class ValidationScore:
    """The measured metrics of one validated subnet.

    Attributes:
        name: `smallest`, `middle_1`, …, `largest`, or the name given to it.
        arch: the subnet.
        macs: of one forward pass on one input.
        params: number of parameters.
        metric: what was measured.
        score: the metric's value, at most 1.
        robust: the accuracy under attack, of the images that were attacked; None without.
    """

    name: str
    arch: Arch
    macs: int
    params: int
    metric: str
    score: float
    robust: float | None = None


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
    return distinct(named)


def distinct(named: Mapping[str, Arch]) -> dict[str, Arch]:
    """Subnets by name, equal ones once, under the first name."""
    names: dict[Arch, str] = {}
    for name, arch in named.items():
        names.setdefault(arch, name)
    return {name: arch for arch, name in names.items()}


class ValidatedSubnet:
    """One subnet under validation: `update` with every batch, then read `result`."""

    def __init__(self, name: str, arch: Arch, supernet: Supernet, metric: str, device: torch.device) -> None:
        self.name = name
        self.arch = arch
        self.supernet = supernet
        with torch.inference_mode(False):  # weights made in inference mode could not be attacked
            self.subnet: nn.Module = supernet.extract(arch).eval()
        self.metric = metric
        classes = library_of(supernet.model).classes
        self._scores = make_metric(metric, classes, device)
        self._robust = make_metric("accuracy", classes, device) if classes > 1 else None

    def recalibrate(self, batches: Iterable[Inputs], recalibrate: Recalibrate) -> None:
        """Re-estimate BatchNorm statistics on inputs at full resolution."""
        recalibrate(self.subnet, self._resized(batches))

    def update(self, inputs: Inputs, labels: Tensor) -> None:
        """Measure the subnet on one batch: inputs at full resolution, labels `(N,)`."""
        for resized in self._resized([inputs]):
            self._scores.update(answers(predict(self.subnet, resized)), labels)

    def attack(self, images: Tensor, labels: Tensor, adversary: Adversary, seed: tuple[int, ...]) -> None:
        """Measure the subnet under attack on one batch: images at full resolution, labels `(N,)`."""
        assert self._robust is not None
        for resized in self._resized([images]):
            attacked = adversary.deceive(self.subnet, resized, labels, seeded(*seed))
            self._robust.update(answers(predict(self.subnet, attacked)), labels)

    def result(self) -> ValidationScore:
        """The metrics over all batches of all ranks."""
        macs, params = self.supernet.macs([self.arch]), self.supernet.params([self.arch])
        score = float(self._scores.compute())
        robust = float(self._robust.compute()) if self._robust is not None and self._robust.update_called else None
        return ValidationScore(self.name, self.arch, int(macs[0]), int(params[0]), self.metric, score, robust)

    def _resized(self, batches: Iterable[Inputs]) -> Iterator[Any]:
        for inputs in batches:
            with self.supernet.active(self.arch):
                resized = self.supernet.resize(inputs)
            yield resized


class Validator:
    """Validates the named subnets of a supernet in one pass over the batches.

    Attributes:
        results: what the last validation or test found, one entry per subnet, by MACs.
        examples: on so many examples of all processes.
    """

    def __init__(self, module: LightningModule, options: ValidationOptions, seed: int) -> None:
        """Nothing is cut out yet.

        Args:
            module: whose trainer has the data, and the log.
            options: which subnets, and how.
            seed: of the random subnets, and of attacks.
        """
        self.module = module
        self.options = options
        self.seed = seed
        self.results: list[ValidationScore] = []
        self.examples = 0
        self._subnets: list[ValidatedSubnet] = []

    @property
    def metric(self) -> str:
        """The metric that the options name, or else that of the data."""
        data = getattr(self.module.trainer, "datamodule", None)
        return str(self.options.metric or getattr(data, "metric", "accuracy"))

    def named(self, space: SearchSpace, whole: SearchSpace) -> dict[str, Arch]:
        """The subnets that are validated, by name; as for `named_archs`."""
        return named_archs(space, whole, self.options, self.seed)

    def logged(self, space: SearchSpace, whole: SearchSpace) -> list[str]:
        """The names under which validation logs."""
        kinds = [self.metric, *([] if self.options.attack is None else ["robust"])]
        return [f"val/{name}/{kind}" for name in self.named(space, whole) for kind in kinds]

    def start(self, supernet: Supernet, space: SearchSpace, recalibrate: Recalibrate) -> None:
        """Cut the named subnets out and re-estimate their BatchNorm statistics.

        Args:
            supernet: whose subnets.
            space: the part of its space that is being trained.
            recalibrate: re-estimates the statistics.

        Raises:
            TrainingError: there is BatchNorm, and the data has no calibration batches.
        """
        module, named = self.module, self.named(space, supernet.space)
        self.examples = 0
        self._subnets = [ValidatedSubnet(*each, supernet, self.metric, module.device) for each in named.items()]
        for subnet in self._subnets:
            with module.trainer.precision_plugin.forward_context():
                subnet.recalibrate(calibration_batches(module, self.options.calibration_batches), recalibrate)

    def update(self, inputs: Inputs, labels: Tensor, batch_idx: int) -> None:
        """Measure every named subnet on one batch, under attack where that is asked for.

        Raises:
            TrainingError: attacked inputs aren't images between 0 and 1.
        """
        self.examples += len(labels)
        for subnet in self._subnets:
            subnet.update(inputs, labels)
        attack = self.options.attack
        if attack is not None and batch_idx < self.options.attacked_batches:
            check_pixels(inputs)
            assert isinstance(inputs, Tensor)
            for subnet in self._subnets:
                subnet.attack(inputs, labels, attack, (self.seed, batch_idx, self.module.global_rank))

    def finish(self, stage: Literal["val", "test"]) -> None:
        """Log `STAGE/<name>/<metric>` of each subnet, and `STAGE/<name>/robust` where it was attacked."""
        self.results = sorted((subnet.result() for subnet in self._subnets), key=lambda result: result.macs)
        self._subnets = []
        total = torch.tensor(self.examples, device=self.module.device)
        self.examples = int(self.module.trainer.strategy.reduce(total, reduce_op="sum"))
        for result in self.results:  # the same on all ranks
            self.module.log(f"{stage}/{result.name}/{result.metric}", result.score, sync_dist=True)
            if result.robust is not None:
                self.module.log(f"{stage}/{result.name}/robust", result.robust, sync_dist=True)
