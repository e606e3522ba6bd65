"""Real images in memory, for trainings that shall take as long as they must and no longer."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from elastic import Arch
from elastic.supernet.evaluation import MeasuredAccuracy
from elastic.support.files import write_text
from trainers.checkpoints import AtomicCheckpointIO
from trainers.run_folder import LAST, RunFolder
from trainers.supernet_module import SupernetModule

Labelled = tuple[Tensor, Tensor]
"""Images `(N, C, H, W)` and labels."""

CALIBRATION_BATCHES = 32


def load_images(name: str, data: Path) -> tuple[Labelled, Labelled]:
    """Images between 0 and 1 with their labels, for training and for the test, of `fashion_mnist` or `cifar10`.

    `data` has `fashion_mnist/` (as torchvision keeps it) or `cifar10_20k_5k.npz`.
    """
    return _read(name, data, "train"), _read(name, data, "val")


def _read(name: str, data: Path, split: str) -> Labelled:
    if name == "cifar10":
        arrays = np.load(data / "cifar10_20k_5k.npz")  # differences between neighbouring pixels and channels
        pixels = np.cumsum(arrays[f"{split}_delta"].transpose(1, 2, 3, 0), axis=2, dtype=np.uint8)
        pixels[..., 0] += pixels[..., 1]
        pixels[..., 2] += pixels[..., 1]
        images, labels = torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(arrays[f"{split}_y"])
    else:
        from torchvision.datasets import FashionMNIST

        both = FashionMNIST(str(data / "fashion_mnist"), train=split == "train", download=True)
        images, labels = both.data[:, None], both.targets
    return images / 255, labels.long()


def in_batches(labelled: Labelled, size: int, count: int | None = None) -> list[Labelled]:
    """The first `count` images, or all, to judge on."""
    images, labels = (part[:count].split(size) for part in labelled)
    return list(zip(images, labels, strict=True))


def enlarged(images: Tensor, side: int) -> Tensor:
    """Images `(N, C, side, side)`; as they are, where they have this size."""
    return images if images.shape[-1] == side else F.interpolate(images, side, mode="bicubic", align_corners=False)


class Batches:
    """Shuffled training images, cropped and flipped at random a batch at a time; an epoch is `steps` batches long.

    Images are enlarged to `side` last. What an epoch draws depends on the seed and its number alone, so that a training
    that was killed goes on as if it hadn't been.
    """

    def __init__(
        self, labelled: Labelled, crop: int, size: int, steps: int, seed: int, side: int | None = None
    ) -> None:
        images, self.labels = labelled
        self.enlarged_side = side or images.shape[-1]
        self.padded = F.pad(images, [crop] * 4).permute(0, 2, 3, 1).contiguous()
        self.side, self.crop, self.size, self.steps, self.seed = images.shape[-1], crop, size, steps, seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Labelled]:
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.empty(0, dtype=torch.long)
        for _ in range(self.steps):
            while len(order) < self.size:
                order = torch.cat([order, torch.randperm(len(self.labels), generator=random)])
            chosen, order = order[: self.size], order[self.size :]
            places = torch.randint(2 * self.crop + 1, (self.size, 2), generator=random).tolist()
            pixels = torch.stack(
                [
                    self.padded[index, row : row + self.side, column : column + self.side]
                    for index, (row, column) in zip(chosen.tolist(), places, strict=True)
                ]
            )
            flipped = torch.rand(self.size, 1, 1, 1, generator=random) < 0.5
            drawn = torch.where(flipped, pixels.flip(2), pixels).permute(0, 3, 1, 2)
            yield enlarged(drawn, self.enlarged_side), self.labels[chosen]


class Data(LightningDataModule):
    """What a training asks for: its batches, and plain images for the BatchNorm statistics of a teacher."""

    def __init__(self, batches: Batches, calibration: list[Tensor]) -> None:
        super().__init__()
        self.batches, self.calibration = batches, calibration

    def train_dataloader(self) -> Batches:
        """Asked for at the beginning of each epoch."""
        self.batches.epoch = self.trainer.current_epoch
        return self.batches

    def calibration_batches(self) -> list[Tensor]:
        return self.calibration


def fit(module: SupernetModule, data: LightningDataModule, folder: Path, most: int | None = None) -> int:
    """Train, an epoch a checkpoint; a training that was killed goes on from its last.

    Args:
        module: what is trained.
        data: its batches.
        folder: keeps the checkpoint.
        most: steps of an epoch at most; all of its batches by default.

    Returns:
        Seconds that it took, of all sittings together.
    """
    began, file = time.perf_counter(), folder / "seconds.json"
    before = json.loads(file.read_text()) if file.is_file() and (folder / LAST).is_file() else 0
    trainer = Trainer(
        max_epochs=module.curriculum.epochs,
        limit_train_batches=most,
        limit_val_batches=0,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[RunFolder(folder), Clock(file, before, began)],
        plugins=[AtomicCheckpointIO()],
        reload_dataloaders_every_n_epochs=1,
    )
    trainer.fit(module, datamodule=data, ckpt_path=folder / LAST if (folder / LAST).is_file() else None)
    return round(before + time.perf_counter() - began)


@dataclass(frozen=True)
class Task:
    """What the trainings of a table share.

    Attributes:
        train: images to train on.
        test: images to judge on.
        crop: pixels that images are moved by at random.
        size: images a step.
    """

    train: Labelled
    test: Labelled
    crop: int
    size: int = 64


def train_and_measure(
    task: Task, module: SupernetModule, archs: Mapping[str, Arch], passes: int, seed: int, folder: Path
) -> dict[str, Any]:
    """Train, and give each subnet's accuracy in percent, the number of test images, and the passes it took.

    Images are enlarged to what the network takes. A pass is one image through one subnet.
    """
    images, labels = task.test
    side = module.supernet.input_shape(module.supernet.space.largest)[-1]
    phases = module.curriculum.scaled
    drawn = [sampler.subnets_per_step for sampler in module.plan.samplers]
    subnet_epochs = sum(phase.epochs * each for phase, each in zip(phases, drawn, strict=True))
    steps = max(round(passes / task.size / subnet_epochs), 1)
    batches = Batches(task.train, task.crop, task.size, steps, seed, side)
    calibration = list(enlarged(task.train[0][: CALIBRATION_BATCHES * task.size], side).split(task.size))
    seconds = fit(module, Data(batches, calibration), folder)
    measure = MeasuredAccuracy(module.supernet, in_batches((enlarged(images, side), labels), 500), calibration)
    found = {name: measure(arch)["accuracy"] for name, arch in archs.items()}
    taken, steps = len(batches) * task.size * subnet_epochs, len(batches) * module.curriculum.epochs
    return {"accuracy": found, "n": len(labels), "passes_taken": taken, "steps": steps, "seconds": seconds}


class Clock(Callback):
    """Keeps how long a training has taken, beside its checkpoint."""

    def __init__(self, file: Path, before: float, began: float) -> None:
        self.file, self.before, self.began = file, before, began

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        write_text(self.file, json.dumps(self.before + time.perf_counter() - self.began))
