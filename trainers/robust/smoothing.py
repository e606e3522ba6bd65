"""Randomised smoothing: a certified radius within which no attack changes the smoothed model's prediction.

Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, arXiv:1902.02918.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elastic.errors import TrainingError
from elastic.supernet.evaluation import Batch
from elastic.support.inputs import predict
from trainers.methods.adversary import check_attackable, check_pixels, seeded
from trainers.robust.accuracy import Share


@dataclass(frozen=True)
class Certificate:
    """Certificate for one image; holds with probability at least 1 − α.

    Attributes:
        label: the smoothed model's prediction; None if it abstains.
        radius: L2 radius, for pixels in [0, 1], within which the prediction doesn't change; 0 if it abstains.
    """

    label: int | None
    radius: float


@dataclass(frozen=True)
class Smoothing:
    """Smoothed classifier: the class the base model predicts most often under Gaussian noise.

    Attributes:
        sigma: standard deviation of the noise, for pixels between 0 and 1.
        n0: samples for choosing the class.
        n: samples for bounding its probability; the radius is at most σ Φ⁻¹(α^(1/n)). 100,000 in the paper.
        alpha: largest probability that a certificate is wrong.
        batch: samples per forward pass.
    """

    sigma: float
    n0: int = 100
    n: int = 1000
    alpha: float = 0.001
    batch: int = 250

    def __post_init__(self) -> None:
        if not (self.sigma > 0 and 0 < self.alpha < 1 and min(self.n0, self.n, self.batch) >= 1):
            raise TrainingError(
                "smoothing: sigma is above 0, alpha between 0 and 1, and n0, n and batch count draws, 1 or more; got "
                f"{self.sigma}, {self.alpha}, {self.n0}, {self.n} and {self.batch}"
            )

    def certify(self, model: nn.Module, image: Tensor, generator: torch.Generator | None = None) -> Certificate:
        """Predict an image's class and certify an L2 radius.

        Args:
            model: in eval mode; returns logits.
            image: float `(C, H, W)` in [0, 1]; images with noise aren't clipped.
            generator: random generator of the noise, on the CPU; default: PyTorch's global one.

        Raises:
            TrainingError: model in training mode, or invalid image.
        """
        from scipy.stats import norm

        check_attackable(model)
        check_pixels(image[None])
        label = int(self.counts(model, image, self.n0, generator).argmax())
        hits = int(self.counts(model, image, self.n, generator)[label])
        likely = lower_bound(hits, self.n, self.alpha)
        if likely <= 0.5:
            return Certificate(None, 0.0)
        return Certificate(label, self.sigma * float(norm.ppf(likely)))

    def predict(self, model: nn.Module, image: Tensor, generator: torch.Generator | None = None) -> int | None:
        """Predict with error probability at most α; None if it abstains.

        Arguments and errors are those of `certify`.
        """
        from scipy.stats import binomtest

        check_attackable(model)
        check_pixels(image[None])
        most = self.counts(model, image, self.n, generator).topk(2)
        first, second = map(int, most.values)
        sure = binomtest(first, first + second, 0.5).pvalue <= self.alpha
        return int(most.indices[0]) if sure else None

    @torch.inference_mode()
    def counts(self, model: nn.Module, image: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Number of noisy samples, out of `n`, that the model assigns to each class: int64 `(classes,)`, on the CPU."""
        total: Tensor | int = 0
        for start in range(0, n, self.batch):
            draws = min(self.batch, n - start)
            noise = self.sigma * torch.randn((draws, *image.shape), generator=generator)
            logits = predict(model, image + noise.to(image))
            total = total + logits.argmax(1).bincount(minlength=logits.shape[1]).cpu()
        assert isinstance(total, Tensor)
        return total


def lower_bound(hits: int, n: int, alpha: float) -> float:
    """Lower confidence bound (1 − α, one-sided, Clopper and Pearson) on the probability of a hit."""
    from scipy.stats import beta

    return float(beta.ppf(alpha, hits, n - hits + 1)) if hits else 0.0


def certify(
    model: nn.Module,
    batches: Iterable[Batch],
    smoothing: Smoothing,
    seed: int = 0,
    advance: Callable[[int], object] = lambda _: None,
) -> list[tuple[Certificate, int]]:
    """Certificates of labelled images, each with the image's label.

    Args:
        model: see `Smoothing.certify`.
        batches: images `(N, C, H, W)` in [0, 1] and their labels, on the model's device.
        smoothing: noise, numbers of samples and α.
        seed: random seed of the noise.
        advance: callback, called with 1 after each image.
    """
    found: list[tuple[Certificate, int]] = []
    for images, labels in batches:
        for image, label in zip(images, labels.tolist(), strict=True):
            found.append((smoothing.certify(model, image, seeded(seed, len(found))), label))
            advance(1)
    return found


def certified(found: Sequence[tuple[Certificate, int]], radius: float) -> Share:
    """Share of images classified correctly with a certified radius of at least `radius`."""
    held = sum(one.label == label and one.radius >= radius for one, label in found)
    return Share(held, len(found))
