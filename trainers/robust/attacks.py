"""The attacks by which robustness is reported, by name: FGSM, PGD, CW, APGD, Square and AutoAttack."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elastic.errors import TrainingError
from elastic.support.inputs import predict
from elastic.support.packages import require_packages
from trainers.data.batches import check_classes
from trainers.methods.adversary import Adversary, check_attackable, check_pixels, check_radius, number
from trainers.methods.norms import Norm

_SLACK = 1e-5
"""Tolerance on ε for rounding errors."""

STEPS, QUERIES, TARGETS = 100, 5000, 10
"""AutoAttack's published settings: steps per gradient attack, queries of Square, and number of target classes including
the true one."""


@dataclass(frozen=True)
class Threat:
    """Threat model: the perturbation's norm and its bound; pixels stay in [0, 1].

    Attributes:
        norm: norm of the perturbation.
        epsilon: its bound ε, for pixels in [0, 1]: a number, or a fraction such as "8/255".
    """

    norm: Norm = "linf"
    epsilon: float | str = "8/255"

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm):
            raise TrainingError(f"no norm {self.norm!r}; choose one of {', '.join(get_args(Norm))}")
        check_radius(self.radius, self.norm)

    @property
    def radius(self) -> float:
        """ε as a number."""
        return number(self.epsilon)

    def allows(self, images: Tensor, attacked: Tensor) -> Tensor:
        """Whether each of the images `(N, C, H, W)` is within the bound and its pixels in [0, 1]: bool `(N,)`."""
        moved = (attacked - images).flatten(1)
        far = moved.abs().amax(1) if self.norm == "linf" else moved.norm(dim=1)
        darkest, brightest = attacked.flatten(1).aminmax(dim=1)
        return (far <= self.radius + _SLACK) & (darkest >= -_SLACK) & (brightest <= 1 + _SLACK)


@dataclass(frozen=True)
class Attack:
    """An attack: its kind and its effort.

    Attributes:
        kind: one of those in `KINDS`.
        effort: number of steps, or of queries for square; 0 for fgsm and autoattack, whose effort is fixed.
    """

    kind: str
    effort: int


def find_attack(name: str, norm: Norm) -> Attack:
    """Look up an attack by name, optionally with steps or queries: `pgd-50`, `square-1000`.

    Raises:
        TrainingError: no such attack, or none for this norm.
        PackageError: the attack needs torchattacks, which isn't installed.
    """
    kind, effort = name, 0
    words = re.fullmatch("(.+)-([1-9][0-9]*)", name)
    if words and words[1] in KINDS and KINDS[words[1]].effort:
        kind, effort = words[1], int(words[2])
    if kind not in KINDS:
        raise TrainingError(
            f"no attack {name!r}; choose from {', '.join(KINDS)}, or say how many steps (queries of square): pgd-50"
        )
    if norm not in KINDS[kind].norms:
        cure = "pgd, apgd-ce and autoattack" if norm == "linf" else "pgd"
        raise TrainingError(
            f"{kind} is an attack of norm {KINDS[kind].norms[0]}, not of {norm}; for that there is {cure}"
        )
    if KINDS[kind].foreign:
        require_torchattacks(kind)
    return Attack(kind, effort or KINDS[kind].effort)


def has_torchattacks() -> bool:
    """Whether torchattacks is installed; needed for everything but FGSM and PGD."""
    return find_spec("torchattacks") is not None


def require_torchattacks(kind: str) -> None:
    """Check that torchattacks is installed.

    Raises:
        PackageError: it isn't.
    """
    require_packages(f"{kind} (unlike fgsm and pgd)", "torchattacks")


def attack(name: str, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, seed: int = 0) -> Tensor:
    """Adversarial examples for `model` within the threat model.

    The model and all global random generators are left as they were.

    Args:
        name: see `find_attack`.
        model: in eval mode; returns logits, and normalises images itself.
        images: float `(N, C, H, W)` in [0, 1].
        labels: int64 `(N,)`, on the same device.
        threat: norm and bound of the perturbation.
        seed: random seed; results are reproducible.

    Returns:
        `(N, C, H, W)`, detached. Where the attack exceeds the bound (cw has no ε), the image is returned unchanged.

    Raises:
        TrainingError: no such attack; model in training mode; invalid images, labels or radius.
        PackageError: the attack needs torchattacks, which isn't installed.
    """
    chosen = find_attack(name, threat.norm)
    check_attackable(model)
    _check_batch(images, labels, threat)
    if not len(images):
        return images.clone()
    with _untouched(model), torch.enable_grad():
        with torch.no_grad():
            classes = predict(model, images[:1]).shape[1]
        check_classes(labels, classes, type(model).__name__)
        attacked = KINDS[chosen.kind].run(_Attacked(model, images, labels, threat, classes, chosen.effort, seed))
    kept = threat.allows(images, attacked).view(-1, 1, 1, 1)
    return torch.where(kept, attacked, images).detach()


def _check_batch(images: Tensor, labels: Tensor, threat: Threat) -> None:
    if len(images):
        check_pixels(images)
        check_radius(threat.radius, threat.norm, images[0].numel())
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise TrainingError(
            f"{len(images)} images are attacked with labels {labels.dtype} {tuple(labels.shape)}; wanted one class "
            f"each, int64 ({len(images)},): leave mixing out"
        )


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Within the block, parameters need no gradients; afterwards, global random generators are restored."""
    learning = [one for one in model.parameters() if one.requires_grad]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices):
        try:
            for one in learning:
                one.requires_grad_(False)
            yield
        finally:
            for one in learning:
                one.requires_grad_()


# --- how each is made ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Attacked:
    """The inputs of an attack; see `attack`."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    threat: Threat
    classes: int
    effort: int
    seed: int

    def answer(self, images: Tensor) -> Tensor:
        """Logits, float `(N, classes)`, shifted so that the smallest is 0: torchattacks' CW expects none below."""
        logits = predict(self.model, images).float()
        if images.requires_grad and torch.is_grad_enabled() and not logits.requires_grad:
            raise TrainingError(
                "the model's logits have no gradient with respect to its images, so only square can attack it"
            )
        return logits - logits.detach().amin(1, keepdim=True)


def _ascend(made: _Attacked, steps: int, step_size: float, start: Any) -> Tensor:
    ascent = Adversary(made.threat.norm, made.threat.radius, steps, step_size, start)

    def objective(attacked: Tensor) -> Tensor:
        return F.cross_entropy(made.answer(attacked), made.labels, reduction="sum")

    return ascent.perturb(made.images, objective, torch.Generator().manual_seed(made.seed))


def _fgsm(made: _Attacked) -> Tensor:
    return _ascend(made, 1, made.threat.radius, "image")


def _pgd(made: _Attacked) -> Tensor:
    return _ascend(made, made.effort, made.threat.radius / 4, "uniform")


class _Answers(nn.Module):
    """The model that torchattacks is given: it needs a mode, `eval()` and a parameter, for the device.

    torchattacks keeps every model that it was given; drop `answer` afterwards, so that the model can be freed.
    """

    def __init__(self, made: _Attacked) -> None:
        super().__init__()
        self.place = nn.Parameter(made.images.new_empty(0), requires_grad=False)
        self.answer: Callable[[Tensor], Tensor] | None = made.answer
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        assert self.answer is not None
        return self.answer(images)


def _foreign(make: Callable[[Any, _Answers, _Attacked], Any]) -> Callable[[_Attacked], Tensor]:
    """An attack implemented by torchattacks; `make` sets every option, so that its defaults don't matter."""

    def run(made: _Attacked) -> Tensor:
        import torchattacks

        answers = _Answers(made)
        try:
            attacked: Tensor = make(torchattacks, answers, made)(made.images, made.labels)
        finally:
            answers.answer = None
        return attacked

    return run


def _ball(made: _Attacked) -> dict[str, Any]:
    """The options that APGD, FAB and Square share."""
    norm = {"linf": "Linf", "l2": "L2"}[made.threat.norm]
    return {"norm": norm, "eps": made.threat.radius, "n_restarts": 1, "seed": made.seed, "verbose": False}


def _cw(package: Any, answers: _Answers, made: _Attacked) -> Any:
    return package.CW(answers, c=1, kappa=0, steps=made.effort, lr=0.01)


def _apgd_ce(package: Any, answers: _Answers, made: _Attacked) -> Any:
    return package.APGD(answers, **_ball(made), steps=made.effort, loss="ce", eot_iter=1, rho=0.75)


def _square(package: Any, answers: _Answers, made: _Attacked) -> Any:
    return package.Square(answers, **_ball(made), n_queries=made.effort, p_init=0.8, loss="margin", resc_schedule=True)


def _autoattack(package: Any, answers: _Answers, made: _Attacked) -> Any:
    """AutoAttack's standard version with the published 100 steps; torchattacks defaults to 10."""
    if made.classes < 4:
        raise TrainingError(
            f"autoattack is for four classes or more, and the model has {made.classes}; take apgd-ce and square"
        )
    targeted: dict[str, Any] = {**_ball(made), "steps": STEPS, "n_classes": min(made.classes, TARGETS)}
    attacks = [
        package.APGD(answers, **_ball(made), steps=STEPS, loss="ce", eot_iter=1, rho=0.75),
        package.APGDT(answers, **targeted, eot_iter=1, rho=0.75),
        package.FAB(answers, **targeted, multi_targeted=True, alpha_max=0.1, eta=1.05, beta=0.9),
        package.Square(answers, **_ball(made), n_queries=QUERIES, p_init=0.8, loss="margin", resc_schedule=True),
    ]
    return package.MultiAttack(attacks, verbose=False)


@dataclass(frozen=True)
class Kind:
    """A kind of attack.

    Attributes:
        run: computes the adversarial examples.
        effort: default number of steps or queries; 0 if it is fixed.
        norms: supported norms.
        foreign: implemented by torchattacks.
        white: uses only the model's gradients (white-box).
    """

    run: Callable[[_Attacked], Tensor]
    effort: int = 0
    norms: tuple[Norm, ...] = ("linf", "l2")
    foreign: bool = True
    white: bool = True


KINDS = {
    "fgsm": Kind(_fgsm, foreign=False),
    "pgd": Kind(_pgd, 20, foreign=False),
    "cw": Kind(_foreign(_cw), 100, norms=("l2",)),
    "apgd-ce": Kind(_foreign(_apgd_ce), STEPS),
    "square": Kind(_foreign(_square), QUERIES, white=False),
    "autoattack": Kind(_foreign(_autoattack), white=False),
}
"""By name:

- fgsm: one step of ε (Goodfellow et al., 2015, arXiv:1412.6572).
- pgd: from a uniform start, steps of ε/4 (Madry et al., 2018, arXiv:1706.06083).
- cw: the nearest image that is misclassified (Carlini and Wagner, 2017, arXiv:1608.04644), with a fixed c of 1; those
  beyond ε don't count. Pixels that are exactly 0 or 1 stay.
- apgd-ce: PGD that finds its own step size, on the cross-entropy (Croce and Hein, 2020, arXiv:2003.01690).
- square: a random search that looks at logits only (Andriushchenko et al., 2020, arXiv:1912.00049).
- autoattack: apgd-ce, apgd-t, fab-t and square, each run only on images the previous ones failed to break (Croce and
  Hein, 2020), as in RobustBench. It takes some 10,000 forward passes for each image that withstands it.
"""
