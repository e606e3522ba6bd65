"""The adversary: how a batch of images is attacked while training, and in validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from elastic.errors import TrainingError
from elastic.support.inputs import predict
from trainers.methods.dropout import without_dropout
from trainers.methods.norms import Norm

Objective = Callable[[Tensor], Tensor]
"""The objective that the adversary maximises: a scalar, summed over the images `(N, C, H, W)`."""

_NORMAL = 0.001  # standard deviation of the start of TRADES
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Adversary:
    """Projected gradient ascent within a ball around each image, and within [0, 1].

    Each step goes along the gradient's sign (linf) or direction (l2), then back into the ball and into the range of
    pixels (Madry et al., 2018, arXiv:1706.06083). One step of 5/4 ε from a uniform start is the fast kind of Wong et
    al. (2020, arXiv:2001.03994): {steps: 1, step_size: 10/255}.

    Attributes:
        norm: of the perturbation.
        epsilon: the ball's radius, for pixels between 0 and 1: a number, or a fraction such as "8/255".
        steps: of ascent.
        step_size: how far a step goes, in the same unit.
        start: uniform in the ball; normal: the image with a little noise (σ = 0.001), as TRADES has it; image: itself.
        warmup_epochs: epochs over which the radius (and with it the step) grows from 0.
        shared: attack each batch once, on the teacher where that is a network of its own (AdaAD and HAT can't), else on
            the step's first subnet (in place, the largest), and train all of the step's subnets on the same images. By
            default each subnet is attacked itself.
    """

    norm: Norm = "linf"
    epsilon: float | str = "8/255"
    steps: int = 10
    step_size: float | str = "2/255"
    start: Literal["uniform", "normal", "image"] = "uniform"
    warmup_epochs: float = 0.0
    shared: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.warmup_epochs < 0:
            raise TrainingError(
                "adversary: steps counts steps, 1 or more, and warmup_epochs is 0 or more; "
                f"got {self.steps} and {self.warmup_epochs}"
            )
        check_radius(self.radius, self.norm)
        if self.step <= 0:
            raise TrainingError(f"adversary: step_size is above 0, got {self.step_size}")

    @property
    def radius(self) -> float:
        """ε as a number."""
        return number(self.epsilon)

    @property
    def step(self) -> float:
        """The step size as a number."""
        return number(self.step_size)

    def warm(self, epoch: float) -> float:
        """The share of ε that has been reached at `epoch`, counted from 0 with fractions."""
        return min(epoch / self.warmup_epochs, 1.0) if self.warmup_epochs else 1.0

    def perturb(
        self, images: Tensor, objective: Objective, generator: torch.Generator | None = None, share: float = 1.0
    ) -> Tensor:
        """Images in the ball, detached, for which the objective is large.

        Args:
            images: float `(N, C, H, W)` between 0 and 1.
            objective: see `Objective`.
            generator: of the start, on the CPU; PyTorch's own by default.
            share: of ε and of the step size.
        """
        radius, step = share * self.radius, share * self.step
        attacked = images + self._start(images, radius, generator)
        with torch.enable_grad():
            for _ in range(self.steps):
                attacked = attacked.clamp(0, 1).detach().requires_grad_()
                (gradient,) = torch.autograd.grad(objective(attacked), attacked)
                moved = attacked.detach() + step * self._direction(gradient)
                attacked = images + project(moved - images, radius, self.norm)
        return attacked.clamp(0, 1).detach()

    def deceive(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images for which the cross-entropy of a finished model is large; it stays as it is.

        Args:
            model: in evaluation mode.
            images: as for `perturb`; may be made in inference mode.
            labels: int64 `(N,)`.
            generator: as for `perturb`.

        Raises:
            TrainingError: the model is in training mode.
        """
        check_attackable(model)
        with torch.inference_mode(False):
            pixels, classes = images.clone(), labels.clone()  # what was made in inference mode has no gradients
            return self.perturb(
                pixels, lambda attacked: F.cross_entropy(predict(model, attacked), classes, reduction="sum"), generator
            )

    def _start(self, images: Tensor, radius: float, generator: torch.Generator | None) -> Tensor:
        if self.start == "image":
            return torch.zeros_like(images)
        if self.start == "normal":
            noise = _NORMAL * torch.randn(images.shape, generator=generator)
            return project(noise.to(images), radius, self.norm)
        if self.norm == "linf":
            return radius * (2 * torch.rand(images.shape, generator=generator) - 1).to(images)
        normal = torch.randn(images.shape, generator=generator).to(images)  # prefers no direction
        # of a ball in d dimensions, the one of a share of the radius holds that share to the power of d
        share = torch.rand(_per_image(images), generator=generator) ** (1 / images.shape[1:].numel())
        return radius * share.to(images) * normal / _lengths(normal)

    def _direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign() if self.norm == "linf" else gradient / _lengths(gradient)


def project(perturbation: Tensor, radius: float, norm: Norm) -> Tensor:
    """The nearest perturbations `(N, C, H, W)` in the ball."""
    if norm == "linf":
        return perturbation.clamp(-radius, radius)
    return perturbation * (radius / _lengths(perturbation)).clamp(max=1)


def _lengths(tensors: Tensor) -> Tensor:
    """Euclidean lengths, by image, `(N, 1, 1, 1)`; never 0."""
    lengths: Tensor = tensors.flatten(1).norm(dim=1).clamp(min=1e-12)
    return lengths.view(_per_image(tensors))


def _per_image(tensors: Tensor) -> tuple[int, ...]:
    return (len(tensors), *(1,) * (tensors.ndim - 1))


# --- what is attacked -----------------------------------------------------------------------------------------


@contextmanager
def under_attack(model: nn.Module) -> Iterator[None]:
    """Within the block, forward passes move no statistics, and nothing is dropped.

    In training mode BatchNorm normalises by the batch that it is given, so by no other subnet's statistics; its running
    ones, which belong to all subnets, are neither read nor written.
    """
    norms = [one for one in model.modules() if isinstance(one, _BatchNorm) and one.training and one.track_running_stats]
    try:
        for norm in norms:
            norm.track_running_stats = False
        with without_dropout(model):
            yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def seeded(*numbers: int) -> torch.Generator:
    """A generator on the CPU that is a function of `numbers`."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


# --- what is refused --------------------------------------------------------------------------------------------


def number(given: float | str) -> float:
    """A number, or a fraction such as "8/255", as a number.

    Raises:
        TrainingError: neither.
    """
    try:
        return float(Fraction(given)) if isinstance(given, str) else float(given)
    except (ValueError, ZeroDivisionError) as error:
        raise TrainingError(f"{given!r} is neither a number nor a fraction such as 8/255") from error


def check_radius(radius: float, norm: Norm, pixels: int | None = None) -> None:
    """Check that a ball is smaller than the cube of all images.

    Args:
        radius: ε.
        norm: of the ball.
        pixels: values of an image, where they are known.

    Raises:
        TrainingError: it isn't, or the radius isn't above 0.
    """
    most = 1.0 if norm == "linf" else float("inf") if pixels is None else pixels**0.5
    if not 0 < radius <= most:
        cure = f"; {radius:g} of 255 is {radius:g}/255" if radius > most else ""
        raise TrainingError(
            f"ε = {radius:g} is meant for pixels between 0 and 1: wanted 0 < ε ≤ {most:g} ({norm}){cure}"
        )


def check_pixels(images: Any) -> None:
    """Check that images are what attacks are made on: values between 0 and 1.

    Raises:
        TrainingError: they are something else.
    """
    if not isinstance(images, Tensor) or images.ndim != 4:
        given = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise TrainingError(f"attacks are made on images (N, C, H, W), got {given}")
    low, high = map(float, images.detach().aminmax())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise TrainingError(
            f"images between {low:.3g} and {high:.3g}: attacks count ε in pixels between 0 and 1, so whatever "
            "normalises them belongs into the model. Set the data's mean to 0 and its std to 1, and give the supernet "
            "mean and std (--model.supernet.normalize)"
        )


def check_attackable(model: nn.Module) -> None:
    """Check that a finished model may be attacked as it is.

    Raises:
        TrainingError: it is in training mode, where the attack would be made on batch statistics.
    """
    if model.training:
        raise TrainingError(
            "the model is in training mode, where BatchNorm looks at the whole batch and dropout at chance; "
            "call model.eval() before the attack"
        )
