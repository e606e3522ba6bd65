"""Gradient masking: checks that a robust accuracy isn't only that of an attack that found no way.

A model may withstand attacks because its gradients lead nowhere, not because nothing is there to be found. The signs
are those of Carlini et al. (2019, arXiv:1902.06705) and Athalye et al. (2018, arXiv:1802.00420).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from elastic.supernet.evaluation import Batch
from trainers.robust.accuracy import Share, measure_robustness
from trainers.robust.attacks import Threat, has_torchattacks

BLIND = "square-500"
"""The attack that needs no gradients; where torchattacks is missing, there is none."""

TWICE, ALL = "pgd-20, 2ε", "pgd-50, all"
"""What is measured in a ball twice as large, and in one that holds every image."""

MEANING = (
    "gradient masking suspected: attacks that follow the gradient miss images that can be broken, so the true robust "
    "accuracy may be far lower; believe square and autoattack only"
)


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        rule: what must hold.
        ok: whether it does, as far as the 95 % interval tells.
        finding: what was found, in a sentence.
    """

    rule: str
    ok: bool
    finding: str


def probes() -> list[str]:
    """The attacks at ε that the checks compare."""
    return ["fgsm", "pgd-20", "pgd-50", *([BLIND] if has_torchattacks() else [])]


def measure_masking(
    model: nn.Module,
    batches: Sequence[Batch],
    threat: Threat,
    seed: int = 0,
    advance: Callable[[int], object] = lambda _: None,
) -> dict[str, Share]:
    """What `check_masking` needs: shares by attack, those at other radii included.

    Arguments and errors are those of `trainers.robust.accuracy.measure_robustness`.
    """
    most = 1.0 if threat.norm == "linf" else float(batches[0][0][0].numel()) ** 0.5
    shares = dict(measure_robustness(model, batches, probes(), threat, seed, advance).shares)
    for title, radius in ((TWICE, min(2 * threat.radius, most)), (ALL, most)):
        name = title.partition(",")[0]
        wider = replace(threat, epsilon=radius)
        shares[title] = measure_robustness(model, batches, [name], wider, seed, advance)[name]
    return shares


def steps() -> int:
    """How often `measure_masking` advances for each batch."""
    return len(probes()) + 2


def check_masking(shares: Mapping[str, Share], classes: int) -> list[Check]:
    """What must hold of attacks that do what they should.

    Args:
        shares: what `measure_masking` found.
        classes: the model's.
    """
    white = min(("fgsm", "pgd-20", "pgd-50"), key=lambda name: shares[name].right)
    checks = [
        _compare("several steps do no worse than one", shares, "fgsm", "pgd-20"),
        _compare("50 steps do no worse than 20", shares, "pgd-20", "pgd-50"),
        _compare("a ball twice as large holds no less", shares, "pgd-20", TWICE),
        _reach(shares[ALL], classes),
    ]
    if BLIND in shares:
        checks.append(_compare("gradients find no less than blind search", shares, BLIND, white))
    return checks


def _compare(rule: str, shares: Mapping[str, Share], weaker: str, stronger: str) -> Check:
    """The stronger attack leaves no more than the weaker one."""
    finding = f"{weaker} leaves {_spell(shares[weaker])}, {stronger} {_spell(shares[stronger])}"
    return Check(rule, not surely_more(shares[stronger], shares[weaker]), finding)


def surely_more(one: Share, other: Share) -> bool:
    """Whether one is larger for all that 95 % intervals allow (R. G. Newcombe, 1998, method 10, made from Wilson's)."""
    below, above = one.accuracy - one.interval[0], other.interval[1] - other.accuracy
    return one.accuracy - other.accuracy > math.hypot(below, above)


def _reach(share: Share, classes: int) -> Check:
    """Where every image is within reach, an attack leaves nothing.

    Its random start alone, which is noise, leaves about 1 of `classes`; so more than half of that is too much.
    """
    finding = f"pgd-50 leaves {_spell(share)} where any image may become any other"
    return Check("with any image within reach, nothing is left", share.interval[0] <= 50 / classes, finding)


def _spell(share: Share) -> str:
    low, high = share.interval
    return f"{share.accuracy:.1f} % ({low:.1f} to {high:.1f})"
