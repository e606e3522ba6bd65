"""Handwritten digits over photographs, both of which scikit-learn ships: real data, hard enough to need a network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from trainers.data.digits import Digits
from trainers.data.supernet_data import Splits

_TILT, _SCALE, _OPACITY = 15.0, (0.75, 0.95), (0.6, 1.0)
"""Digits are turned by up to so many degrees, fill this share of the image, and hide this much of what is behind."""


class DigitScenes(Digits):
    """Each digit of `Digits` over crops of two photographs, grey: a tile of roofs, say, with a seven across it.

    Training images have their crops from the left two thirds of the photographs, the others from the right third. After
    the background images of H. Larochelle et al., "An Empirical Evaluation of Deep Architectures on Problems with Many
    Factors of Variation", ICML 2007.
    """

    def __init__(
        self,
        size: int = 32,
        copies: int = 3,
        batch_size: int = 64,
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        workers: int = 0,
        seed: int = 0,
        mixup: dict[str, Any] | None = None,
    ) -> None:
        """Nothing is read before `setup`.

        Args:
            size: side of the images in pixels.
            copies: images made of each digit, each over another crop.
            batch_size: images per step and process.
            val_fraction: share of the digits that is for validation.
            test_fraction: share of the digits that is for the test.
            workers: processes that prepare images; 0 does it in the training process.
            seed: of the split, the crops and the order.
            mixup: arguments of `timm.data.Mixup`, such as {mixup_alpha: 0.8, cutmix_alpha: 1.0}; None: no mixing.

        Raises:
            TrainingError: images without pixels, or a part without images.
        """
        super().__init__(size, 1, batch_size, val_fraction, test_fraction, workers, seed, mixup)
        self.copies = copies

    def load(self) -> Splits:
        """All images of all parts, normalised by mean and deviation of the training images."""
        images, digits = self._enlarged()
        train, val, test = self._split(digits)
        mean, std = self._normalization(images)

        def part(indices: NDArray[np.int64], number: int) -> TensorDataset:
            chosen = np.repeat(indices, self.copies)
            made = self._scenes(images[chosen], number)
            return TensorDataset((made - mean) / std, torch.from_numpy(digits[chosen]).long())

        parts = [part(indices, number) for number, indices in enumerate((train, val, test))]
        return Splits(parts[0], parts[0], parts[1], parts[2])

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Grey values between 0 and 1, the mean subtracted and divided by std."""
        mean, std = self._normalization(self._enlarged()[0])
        return {"input_size": [1, self.size, self.size], "interpolation": "bilinear", "mean": [mean], "std": [std]}

    def _normalization(self, images: Tensor) -> tuple[float, float]:
        """Mean and standard deviation of the training images' pixels."""
        made = self._scenes(images[: len(images) // 2], 0)
        return float(made.mean()), float(made.std())

    def _scenes(self, digits: Tensor, part: int) -> Tensor:
        """Digits `(N, 1, size, size)`, 0 to 1, over crops for the part of this number: the same shape, 0 to 1."""
        generator = torch.Generator().manual_seed(self.seed * 3 + part)
        masks = _placed(digits, generator) * _between(*_OPACITY, len(digits), generator).view(-1, 1, 1, 1)
        crops = self._crops(len(digits), part == 0, generator)
        ink = (crops.mean((2, 3), keepdim=True) < 0.5).float()  # white on what is dark, black on what is bright
        return crops * (1 - masks) + ink * masks

    def _crops(self, n: int, training: bool, generator: torch.Generator) -> Tensor:
        """Square crops `(n, 1, size, size)` of the photographs."""
        photographs = _photographs(training)
        made = []
        for _ in range(n):
            photograph = photographs[int(torch.randint(len(photographs), (), generator=generator))]
            height, width = photograph.shape[-2:]
            side = int(torch.randint(self.size, 2 * self.size, (), generator=generator))
            top = int(torch.randint(height - side, (), generator=generator))
            left = int(torch.randint(width - side, (), generator=generator))
            crop = photograph[None, :, top : top + side, left : left + side]
            made.append(F.interpolate(crop, (self.size, self.size), mode="bilinear", antialias=True))
        return torch.cat(made)


def _photographs(training: bool) -> list[Tensor]:
    """The left two thirds of each photograph for training, else the right third: grey `(1, H, W)`, 0 to 1."""
    from sklearn.datasets import load_sample_images

    grey = [torch.from_numpy(np.array(one)).float().mean(2)[None] / 255 for one in load_sample_images().images]
    cut = [one.shape[-1] * 2 // 3 for one in grey]
    return [one[..., :at] if training else one[..., at:] for one, at in zip(grey, cut, strict=True)]


def _placed(digits: Tensor, generator: torch.Generator) -> Tensor:
    """Digits `(N, 1, H, W)` turned, scaled and moved within the image."""
    n = len(digits)
    angle = math.radians(_TILT) * _between(-1, 1, n, generator)
    scale = _between(*_SCALE, n, generator)
    x, y = ((1 - scale) * _between(-1, 1, n, generator) for _ in range(2))
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    rows = [torch.stack([cos, -sin, sin * y - cos * x], 1), torch.stack([sin, cos, -sin * x - cos * y], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(digits.shape), align_corners=False)
    return F.grid_sample(digits, grid, align_corners=False)


def _between(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)
