"""Image data for training: the loaders, and an order of images that is a pure function of seed and epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import LightningDataModule
from timm.data import Mixup
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from elastic.errors import TrainingError
from trainers.batches import check_classes
from trainers.loading import EpochOrder, ResumableLoader
from trainers.randomness import SeededImages, drawing

if TYPE_CHECKING:
    from trainers.module import SupernetModule

Images = Dataset[Any]
"""Pairs of an image, float `(C, H, W)`, and a class number; it has a length."""


@dataclass(frozen=True)
class Splits:
    """The parts of a data set.

    Attributes:
        train: with augmentation, where there is any.
        calibration: the training images without augmentation, in the same order as `train`.
        val: for choosing.
        test: for reporting.
    """

    train: Images
    calibration: Images
    val: Images
    test: Images


class ImageDataModule(LightningDataModule, ABC):
    """Loaders over `Splits`; a subclass says where the images come from."""

    def __init__(self, batch_size: int, workers: int, seed: int, mixup: dict[str, Any] | None = None) -> None:
        """Nothing is read before `setup`.

        Args:
            batch_size: images per step and process.
            workers: processes that prepare images; 0 does it in the training process.
            seed: of the order of the images, and of the split where one is made.
            mixup: mix training images and their labels: arguments of `timm.data.Mixup`, such as
                {mixup_alpha: 0.8, cutmix_alpha: 1.0}; None: not at all.

        Raises:
            TrainingError: `mixup` has an argument that timm's doesn't, or an odd batch to mix.
        """
        super().__init__()
        self.mixup = mixup
        if mixup is not None:
            make_mixup(mixup, classes=2)
            if batch_size % 2:
                raise TrainingError(
                    f"--data.mixup mixes the images of a batch in pairs, and --data.batch_size {batch_size} is odd; "
                    f"set it to {batch_size + 1}, or --data.mixup null"
                )
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        self._splits: Splits | None = None

    @abstractmethod
    def load(self) -> Splits:
        """Read the data set.

        Raises:
            TrainingError: it isn't there, or can't be read.
        """

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How images become inputs where there is no augmentation, in numbers, named as timm does; {}: not known."""
        return {}

    @property
    def splits(self) -> Splits:
        """The data set, read on first use."""
        if self._splits is None:
            self._splits = self.load()
            ranks, _ = self._ranks()
            share = count(self._splits.train) // ranks
            if share < self.batch_size:
                each = " of each process" if ranks > 1 else ""
                raise TrainingError(
                    f"{share} training images{each} don't fill a batch of {self.batch_size}; lower --data.batch_size"
                )
        return self._splits

    def setup(self, stage: str) -> None:
        """Read the data set before the first loader is asked for."""
        _ = self.splits

    def train_dataloader(self) -> DataLoader[Any]:
        """Each rank its own share, whole batches only; shuffled and augmented by (seed, epoch, index) alone.

        A training that is resumed continues with the batch that it was to train next.
        """
        images = SeededImages(self.splits.train, self.seed)
        order = EpochOrder(images, *self._ranks(), self.seed, self._place)
        return self._loader(images, ResumableLoader, sampler=order, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """In order, all of them."""
        return self._loader(self.splits.val)

    def test_dataloader(self) -> DataLoader[Any]:
        """In order, all of them."""
        return self._loader(self.splits.test)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Check the labels that are about to be mixed, while looking at them needs no wait for a device.

        Raises:
            TrainingError: a label that is no class of the model.
        """
        module = self._mixing_for()
        if module is not None:
            check_classes(batch[1], module.classes, module.source.model)
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Mix a training batch's images and labels, by (seed, batch, rank) alone; labels become probabilities."""
        module = self._mixing_for()
        if module is None or self.mixup is None:
            return batch
        with drawing(self.seed, module.trainer.fit_loop.total_batch_idx + 1, module.global_rank):
            mixed: Any = make_mixup(self.mixup, module.classes)(*batch)
        return mixed

    def _mixing_for(self) -> SupernetModule | None:
        """What trains on mixed batches now; None where they stay as they are."""
        trainer = self.trainer
        if self.mixup is None or trainer is None or not trainer.training:
            return None
        return cast("SupernetModule", trainer.lightning_module)

    def calibration_batches(self) -> Iterator[Tensor]:
        """Training images without augmentation, in one fixed random order: batches `(N, C, H, W)`.

        Every rank gets its own share.
        """
        ranks, rank = self._ranks()
        images = self.splits.calibration
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(count(images), generator=generator)[rank::ranks].tolist()
        for batch, _ in self._loader(Subset(images, order)):
            yield batch

    def _ranks(self) -> tuple[int, int]:
        """Number of processes, and the own one's rank."""
        trainer = self.trainer
        return (trainer.world_size, trainer.global_rank) if trainer is not None else (1, 0)

    def _place(self) -> tuple[int, int] | None:
        """Where training stands: the epoch, and the images of it that this process has had."""
        trainer = self.trainer
        if trainer is None or trainer.num_training_batches == float("inf"):  # not fitting
            return None
        epoch, batches = divmod(trainer.fit_loop.total_batch_idx + 1, int(trainer.num_training_batches))
        return epoch, batches * self.batch_size

    def _loader(self, images: Images, kind: type[DataLoader[Any]] = DataLoader[Any], **options: Any) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(self.seed)  # the workers' seeds
        return kind(images, self.batch_size, num_workers=self.workers, generator=generator, **options)


def make_mixup(options: dict[str, Any], classes: int) -> Mixup:
    """Mixup and cutmix of timm; the labels are smoothed by the losses, so not here by default.

    Raises:
        TrainingError: an argument that it doesn't have.
    """
    try:
        return Mixup(**{"label_smoothing": 0.0, **options, "num_classes": classes})
    except TypeError as error:
        raise TrainingError(f"--data.mixup {options}: {error}; see timm.data.Mixup") from error


def count(images: Images) -> int:
    """The number of images of a data set."""
    return len(images)  # type: ignore[arg-type]
