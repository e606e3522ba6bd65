"""Checks for gradient masking: is a robust accuracy real, or did the gradients mislead the attack?

A model may withstand attacks because its gradients are useless, although adversarial examples exist. The checks are
those of Carlini et al. (2019, arXiv:1902.06705) and Athalye et al. (2018, arXiv:1802.00420).
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
"""Gradient-free attack; skipped if torchattacks is missing."""

TWICE, ALL = "pgd-20, 2ε", "pgd-50, all"
"""Names of the measurements at 2ε and with an unbounded perturbation."""

MEANING = (
    "gradient masking suspected: attacks that follow the gradient miss images that can be broken, so the true robust "
    "accuracy may be far lower; believe square and autoattack only"
)


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        rule: the rule that must hold.
        ok: False if it is violated significantly (95 %).
        finding: the measured accuracies, in a sentence.
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
    """Robust accuracies for `check_masking`, by attack, including those at larger radii.

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
    """Number of times `measure_masking` calls `advance` for each batch."""
    return len(probes()) + 2


def check_masking(shares: Mapping[str, Share], classes: int) -> list[Check]:
    """Run the sanity checks.

    Args:
        shares: the result of `measure_masking`.
        classes: the model's number of classes.
    """
    white = min(("fgsm", "pgd-20", "pgd-50"), key=lambda name: shares[name].right)
    checks = [
        _compare("several steps never raise robust accuracy above one step's", shares, "fgsm", "pgd-20"),
        _compare("more steps never raise robust accuracy", shares, "pgd-20", "pgd-50"),
        _compare("doubling ε never raises robust accuracy", shares, "pgd-20", TWICE),
        _reach(shares[ALL], classes),
    ]
    if BLIND in shares:
        checks.append(_compare("gradient attacks never leave more than a gradient-free one", shares, BLIND, white))
    return checks


def _compare(rule: str, shares: Mapping[str, Share], weaker: str, stronger: str) -> Check:
    """Check that the stronger attack leaves no higher accuracy than the weaker."""
    finding = f"{weaker} leaves {_spell(shares[weaker])}, {stronger} {_spell(shares[stronger])}"
    return Check(rule, not surely_more(shares[stronger], shares[weaker]), finding)


def surely_more(one: Share, other: Share) -> bool:
    """Whether `one` exceeds `other` significantly (95 %, Newcombe's method 10, 1998, from Wilson intervals)."""
    below, above = one.accuracy - one.interval[0], other.interval[1] - other.accuracy
    return one.accuracy - other.accuracy > math.hypot(below, above)


def _reach(share: Share, classes: int) -> Check:
    """With an unbounded perturbation, robust accuracy should drop to about 0.

    Its random start alone, which is noise, leaves about 1 in `classes`; more than half of that is too much.
    """
    finding = f"pgd-50 leaves {_spell(share)} with an unbounded perturbation"
    return Check(
        "an unbounded perturbation lowers robust accuracy to about 0", share.interval[0] <= 50 / classes, finding
    )


def _spell(share: Share) -> str:
    low, high = share.interval
    return f"{share.accuracy:.1f} % ({low:.1f} to {high:.1f})"
