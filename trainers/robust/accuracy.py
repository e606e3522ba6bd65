"""Robustness of a subnet: its accuracy as it is and under attacks, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elastic.layers.batchnorm import recalibrate
from elastic.space.arch import Arch
from elastic.supernet.evaluation import Batch, MeasuredAccuracy, Recalibrate, correctly_classified
from elastic.supernet.supernet import Supernet
from elastic.support.inputs import Inputs, predict
from trainers.methods.adversary import check_pixels, seeded
from trainers.robust.attacks import Threat, attack, find_attack

CLEAN, WORST = "clean", "worst"
"""Shares that every `Robustness` has: of images as they are, and under whichever attack is the worst for each."""


@dataclass(frozen=True)
class Share:
    """The number of images, out of `n`, that a model classifies correctly."""

    right: int
    n: int

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100.0 * self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy, in percent."""
        from scipy.stats import binomtest

        low, high = binomtest(self.right, self.n).proportion_ci(0.95, method="wilson")
        return 100.0 * float(low), 100.0 * float(high)

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        low, high = self.interval
        return {"right": self.right, "n": self.n, "accuracy": self.accuracy, "low": low, "high": high}


@dataclass(frozen=True)
class Robustness:
    """A model's accuracy under attacks.

    Attributes:
        threat: what the attacks were allowed.
        shares: by attack, of images that are classified correctly before and after it; `clean` and `worst` beside them.
    """

    threat: Threat
    shares: Mapping[str, Share]

    def __getitem__(self, name: str) -> Share:
        return self.shares[name]


def measure_robustness(
    model: nn.Module,
    batches: Iterable[Batch],
    attacks: Sequence[str],
    threat: Threat,
    seed: int = 0,
    advance: Callable[[int], object] = lambda _: None,
) -> Robustness:
    """Count the images that a model classifies correctly as they are and under each attack, in one pass over them.

    Only images that are classified correctly are attacked; the others count as lost, as RobustBench counts.

    Args:
        model: finished, in eval mode; it is left as it was.
        batches: of images `(N, C, H, W)` between 0 and 1 and their labels, on the model's device.
        attacks: see `trainers.robust.attacks.find_attack`; one that is named twice is made once.
        threat: what they are allowed.
        seed: of what they draw.
        advance: told of each attack on a batch.

    Raises:
        TrainingError: see `trainers.robust.attacks.attack`.
        ValueError: no images.
    """
    attacks = list(dict.fromkeys(attacks))
    for name in attacks:
        find_attack(name, threat.norm)
    counts, n = dict.fromkeys([CLEAN, *attacks, WORST], 0), 0
    for at, (images, labels) in enumerate(batches):
        check_pixels(images)
        clean = worst = classifies(model, images, labels)
        for name in attacks:
            left = clean.clone()
            if clean.any():
                moved = attack(name, model, images[clean], labels[clean], threat, seeded(seed, at).initial_seed())
                left[clean] = classifies(model, moved, labels[clean])
            worst = worst & left
            counts[name] += int(left.sum())
            advance(1)
        counts[CLEAN] += int(clean.sum())
        counts[WORST] += int(worst.sum())
        n += len(labels)
    if not n:
        raise ValueError("robustness: no images; give it at least one labelled batch")
    return Robustness(threat, {name: Share(right, n) for name, right in counts.items()})


def classifies(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The images `(N, C, H, W)` that a model classifies correctly: bool `(N,)`."""
    with torch.no_grad():
        return correctly_classified(predict(model, images), labels)


class RobustAccuracy(MeasuredAccuracy):
    """Measures subnets for `elastic.search` by accuracy and by accuracy under attack.

    Args:
        supernet: whose subnets; it is left as it was.
        validation: labelled batches of images between 0 and 1; never those that the supernet was trained on.
        calibration: batches of training images for the BatchNorm statistics; none where there is no BatchNorm.
        attack: what a subnet is attacked with, cut out and in eval mode; see `trainers.robust.attacks.find_attack`.
        threat: what the attack is allowed, at the subnet's own resolution.
        seed: of what it draws: the same for all subnets.
        recalibrate: re-estimates the statistics; for what was trained under attack see `trainers.batchnorm_settings`.

    Raises:
        TrainingError: no such attack.
    """

    def __init__(
        self,
        supernet: Supernet,
        validation: Iterable[Batch],
        calibration: Iterable[Inputs] = (),
        attack: str = "pgd-20",
        threat: Threat | None = None,
        seed: int = 0,
        recalibrate: Recalibrate = recalibrate,
    ) -> None:
        super().__init__(supernet, validation, calibration, recalibrate=recalibrate)
        self.attack = attack
        self.threat = threat or Threat()
        self.seed = seed
        find_attack(attack, self.threat.norm)

    def __call__(self, arch: Arch) -> Mapping[str, float]:
        """`{"accuracy": …, "robust": …}`, both top-1, in percent."""
        subnet = self.subnet(arch, share=True)
        found = measure_robustness(subnet, self.sized(arch), [self.attack], self.threat, self.seed)
        return {"accuracy": found[CLEAN].accuracy, "robust": found[self.attack].accuracy}
