"""Subnets under attack: each cut out, attacked on the same images, its attacks checked, its answers certified."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from elastic.layers.batchnorm import recalibrate
from elastic.space.arch import Arch
from elastic.supernet.evaluation import Batch, MeasuredAccuracy, Recalibrate
from elastic.supernet.supernet import Supernet
from elastic.support.inputs import predict
from elastic.support.progress import progress_bar
from elastic.upstream import library_of
from trainers.methods.adversary import seeded
from trainers.robust.accuracy import classifies, measure_robustness
from trainers.robust.attack_report import (
    Attacked,
    Example,
)
from trainers.robust.attacks import Threat
from trainers.robust.attacks import attack as make_attack
from trainers.robust.gradient_masking import check_masking, measure_masking
from trainers.robust.gradient_masking import steps as masking_steps
from trainers.robust.smoothing import Certificate, Smoothing, certified
from trainers.robust.smoothing import certify as certify_images

if TYPE_CHECKING:
    pass

CHECKED_IMAGES = 128
"""The checks for masked gradients, and certificates, are made on so many images at most."""

_SHOWN, _SEEN = 6, 64
"""A report shows so many images of each subnet, of the first so many."""


class Examiner:
    """Examines subnets, each on the same images.

    Args:
        supernet: whose.
        batches: labelled images between 0 and 1.
        calibration: batches of training images for the BatchNorm statistics.
        attacks: by name.
        threat: what they are allowed.
        seed: of what they draw.
        recalibrate: re-estimates the statistics.
    """

    def __init__(
        self,
        supernet: Supernet,
        batches: Sequence[Batch],
        calibration: Sequence[Any],
        attacks: Sequence[str],
        threat: Threat,
        seed: int = 0,
        recalibrate: Recalibrate = recalibrate,
    ) -> None:
        self.judge = MeasuredAccuracy(supernet, batches, calibration, recalibrate=recalibrate)
        self.supernet = supernet
        self.batches = batches
        self.attacks = attacks
        self.threat = threat
        self.seed = seed

    def steps(self, sanity: bool, smoothing: bool) -> int:
        """Number of times `examine` calls `advance`."""
        few = _few(self.batches)
        checked = len(few) * masking_steps() if sanity else 0
        noisy = sum(len(labels) for _, labels in few) if smoothing else 0
        return len(self.batches) * len(self.attacks) + checked + noisy

    def examine_all(
        self, chosen: Mapping[str, Arch], sanity: bool, smoothing: Smoothing | None, examples: bool
    ) -> list[Attacked]:
        """Examine several subnets, by name, behind a progress bar."""
        with progress_bar("attacking", len(chosen) * self.steps(sanity, smoothing is not None)) as advance:
            return [
                self.examine(name, arch, sanity, smoothing, advance, examples=examples) for name, arch in chosen.items()
            ]

    def examine(
        self,
        name: str,
        arch: Arch,
        sanity: bool,
        smoothing: Smoothing | None,
        advance: Callable[[int], object],
        examples: bool,
    ) -> Attacked:
        """Attack a subnet; check the attacks, certify its answers, and keep attacked images, where that is wanted."""
        model, batches = self.judge.subnet(arch), self.judge.sized(arch)
        few = _few(batches)
        robustness = measure_robustness(model, batches, self.attacks, self.threat, self.seed, advance)
        macs, params = (int(cost([arch])[0]) for cost in (self.supernet.macs, self.supernet.params))
        found = Attacked(name, arch, macs, params, robustness)
        if examples:
            found = replace(found, examples=self._examples(model, batches[0]))
        if sanity:
            shares = measure_masking(model, few, self.threat, self.seed, advance)
            found = replace(found, checks=check_masking(shares, library_of(model).classes))
        if smoothing is not None:
            certificates = certify_images(model, few, smoothing, self.seed, advance)
            found = replace(found, certified=_by_radius(certificates, smoothing))
        return found

    def _examples(self, model: nn.Module, batch: Batch) -> list[Example]:
        """Images that the last attack breaks, and then some that withstand it."""
        clean = classifies(model, batch[0][:_SEEN], batch[1][:_SEEN])
        images, labels = batch[0][:_SEEN][clean], batch[1][:_SEEN][clean]
        attacked = make_attack(
            self.attacks[-1], model, images, labels, self.threat, seeded(self.seed, 0).initial_seed()
        )
        if not len(images):
            return []
        before, after = _says(model, images), _says(model, attacked)
        broken = sorted(range(len(labels)), key=lambda at: after[at][0] == int(labels[at]))
        return [
            Example(images[at].cpu(), attacked[at].cpu(), int(labels[at]), (before[at], after[at]))
            for at in broken[:_SHOWN]
        ]


@torch.no_grad()
def _says(model: nn.Module, images: Tensor) -> list[tuple[int, float]]:
    surest = predict(model, images).softmax(1).max(1)
    return list(zip(surest.indices.tolist(), surest.values.tolist(), strict=True))


def _few(batches: Sequence[Batch]) -> list[Batch]:
    """The first 128 images."""
    kept, left = [], CHECKED_IMAGES
    for images, labels in batches:
        if left > 0:
            kept.append((images[:left], labels[:left]))
            left -= len(labels)
    return kept


def _by_radius(found: Sequence[tuple[Certificate, int]], smoothing: Smoothing) -> dict[float, Any]:
    """Certified accuracies, in steps of σ/4, up to the radius that nothing is certified at."""
    shares = {}
    for quarters in range(64):
        radius = quarters * smoothing.sigma / 4
        shares[radius] = certified(found, radius)
        if not shares[radius].right:
            break
    return shares
