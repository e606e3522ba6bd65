"""Image data modules: `SupernetData` with mixing of images and labels."""

from __future__ import annotations

from abc import ABC
from typing import Any, Protocol, cast

from lightning.pytorch import Trainer
from timm.data import Mixup

from elastic.errors import TrainingError
from elastic.supernet.source import SupernetSource
from trainers.data.batches import check_classes
from trainers.data.randomness import drawing
from trainers.data.supernet_data import SupernetData


class Learner(Protocol):
    """The attributes of the Lightning module that the mixing of images needs."""

    classes: int
    source: SupernetSource
    trainer: Trainer
    global_rank: int


class ImageDataModule(SupernetData, ABC):
    """Loaders over splits of images, float `(C, H, W)`; a subclass says where they come from."""

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
        super().__init__(batch_size, workers, seed)
        self.mixup = mixup
        if mixup is not None:
            make_mixup(mixup, classes=2)
            if batch_size % 2:
                raise TrainingError(
                    f"--data.mixup mixes the images of a batch in pairs, and --data.batch_size {batch_size} is odd; "
                    f"set it to {batch_size + 1}, or --data.mixup null"
                )

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

    def _mixing_for(self) -> Learner | None:
        """The module that trains on mixed batches now; None if batches aren't mixed."""
        trainer = self.trainer
        if self.mixup is None or trainer is None or not trainer.training:
            return None
        return cast("Learner", trainer.lightning_module)


def make_mixup(options: dict[str, Any], classes: int) -> Mixup:
    """Mixup and cutmix of timm; the labels are smoothed by the losses, so not here by default.

    Raises:
        TrainingError: an argument that it doesn't have.
    """
    try:
        return Mixup(**{"label_smoothing": 0.0, **options, "num_classes": classes})
    except TypeError as error:
        raise TrainingError(f"--data.mixup {options}: {error}; see timm.data.Mixup") from error
