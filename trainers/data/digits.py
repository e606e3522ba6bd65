"""The 1,797 real handwritten digits that scikit-learn ships: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Subset, TensorDataset

from elastic.errors import TrainingError
from elastic.support.packages import require_packages
from trainers.data.image_data import ImageDataModule
from trainers.data.supernet_data import Splits

_WHITE = 16
"""The largest value of a pixel."""

_LEAST = 0.01
"""The smallest part has so large a share of the images: some 18, enough for each digit."""


class Digits(ImageDataModule):
    """Handwritten digits, 8 × 8 pixels, enlarged; a seeded split with the same share of each digit in every part.

    The test set of E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """

    def __init__(
        self,
        size: int = 32,
        channels: int = 1,
        batch_size: int = 64,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        workers: int = 0,
        seed: int = 0,
        mixup: dict[str, Any] | None = None,
        raw: bool = False,
    ) -> None:
        """Nothing is read before `setup`.

        Args:
            size: side of the images in pixels; they are enlarged bilinearly.
            channels: 1, or 3 equal ones.
            batch_size: images per step and process.
            val_fraction: share of the images that is for validation.
            test_fraction: share of the images that is for the test.
            workers: processes that prepare images; 0 does it in the training process.
            seed: of the split and of the order.
            mixup: arguments of `timm.data.Mixup`, such as {mixup_alpha: 0.8, cutmix_alpha: 1.0}; None: no mixing.
            raw: pixels between 0 and 1 as they are, for models that normalise themselves.

        Raises:
            PackageError: scikit-learn, which has them, isn't installed.
            TrainingError: images without pixels, or a part without images.
        """
        require_packages("the handwritten digits", "sklearn")
        super().__init__(batch_size, workers, seed, mixup)
        if min(size, channels) < 1:
            raise TrainingError(
                f"--data.size counts pixels and --data.channels channels, 1 or more; got {size} and {channels}"
            )
        if min(val_fraction, test_fraction, 1 - val_fraction - test_fraction) < _LEAST:
            raise TrainingError(
                f"--data.val_fraction and --data.test_fraction are shares of the images, {_LEAST} or more, that leave "
                f"as much for training; got {val_fraction} and {test_fraction}"
            )
        self.size = size
        self.channels = channels
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.raw = raw

    def load(self) -> Splits:
        """All images as one tensor, with zero mean and unit variance unless they are raw, cut in three."""
        images, digits = self._enlarged()
        mean, std = self._normalization(images)
        images = ((images - mean) / std).repeat(1, self.channels, 1, 1)
        everything = TensorDataset(images, torch.from_numpy(digits).long())
        parts = [Subset(everything, indices.tolist()) for indices in self._split(digits)]
        return Splits(parts[0], parts[0], parts[1], parts[2])

    @property
    def preprocessing(self) -> dict[str, Any]:
        """8 × 8 pixels of 0 to 16: divided by 16, enlarged, then the mean subtracted and divided by std."""
        mean, std = self._normalization(self._enlarged()[0])
        return {
            "divisor": _WHITE,
            "input_size": [self.channels, self.size, self.size],
            "interpolation": "bilinear",
            "mean": [mean] * self.channels,
            "std": [std] * self.channels,
        }

    def _normalization(self, images: Tensor) -> tuple[float, float]:
        """Mean and standard deviation of all pixels; where they are raw, 0 and 1."""
        return (0.0, 1.0) if self.raw else (float(images.mean()), float(images.std()))

    def _split(self, digits: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Indices for training, validation and test, with the same share of each digit in every part."""
        from sklearn.model_selection import train_test_split

        everything = np.arange(len(digits))
        rest, test = train_test_split(everything, test_size=self.test_fraction, random_state=self.seed, stratify=digits)
        share = self.val_fraction / (1 - self.test_fraction)
        train, val = train_test_split(rest, test_size=share, random_state=self.seed, stratify=digits[rest])
        return train, val, test

    def _enlarged(self) -> tuple[Tensor, NDArray[np.int64]]:
        """Images `(1797, 1, size, size)` between 0 and 1, and their digits."""
        from sklearn.datasets import load_digits

        data = load_digits()
        images = torch.from_numpy(data.images.astype(np.float32))[:, None] / _WHITE
        return F.interpolate(images, (self.size, self.size), mode="bilinear", align_corners=False), data.target
