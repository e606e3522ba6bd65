"""Data for training: the loaders, and an order of examples that is a pure function of seed and epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Subset

from elastic.errors import TrainingError
from elastic.supernet.supernet import Supernet
from elastic.support.inputs import Inputs
from trainers.data.loading import EpochOrder, ResumableLoader
from trainers.data.randomness import SeededExamples

HELD_OUT = 32
"""Batches that units are scored on."""

Examples = Dataset[Any]
"""Pairs of an input, such as an image, float `(C, H, W)`, and a class number; it has a length."""


@dataclass(frozen=True)
class Splits:
    """The parts of a data set.

    Attributes:
        train: with augmentation, where there is any.
        calibration: the training examples without augmentation, in the same order as `train`.
        val: for choosing.
        test: for reporting.
    """

    train: Examples
    calibration: Examples
    val: Examples
    test: Examples

    @property
    def has_test(self) -> bool:
        """True if the test examples differ from those for validation."""
        return self.test is not self.val


class SupernetData(LightningDataModule, ABC):
    """Loaders over `Splits`; a subclass says where the data comes from."""

    collate: Callable[[list[Any]], Any] | None = None
    """Makes a batch of a list of pairs; where None, tensors are stacked."""

    class_names: Sequence[str] = ()
    """The classes' names by their numbers, once the data set has been read; empty where they aren't known."""

    expected_names: Sequence[str] = ()
    """Names of the classes of the supernet that is judged on the data; empty where they aren't known."""

    metric: str = "accuracy"
    """The metric of subnets (see `trainers.data.metrics`), where the validation's options name none."""

    def __init__(self, batch_size: int, workers: int, seed: int) -> None:
        """Nothing is read before `setup`.

        Args:
            batch_size: examples per step and process.
            workers: processes that prepare them; 0 does it in the training process.
            seed: of their order, and of the split where one is made.

        Raises:
            TrainingError: no examples per step, or fewer than no workers.
        """
        super().__init__()
        if batch_size < 1 or workers < 0:
            raise TrainingError(
                "--data.batch_size counts examples, 1 or more, and --data.workers processes, 0 or more; "
                f"got {batch_size} and {workers}"
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
    def lengths(self) -> Sequence[int]:
        """Lengths of the training examples, where they differ and batches are padded to the longest; else none."""
        return ()

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Preprocessing without augmentation, named as in timm; {} if unknown."""
        return {}

    def check(self, supernet: Supernet) -> None:
        """Check that a supernet can learn from the data; by default that is left to the first step."""

    def save_preprocessing(self, folder: str | Path) -> None:
        """Write files that preprocessing needs, such as a tokenizer, into a subnet's folder."""

    @property
    def splits(self) -> Splits:
        """The data set, read on first use."""
        if self._splits is None:
            splits = self.load()
            self._check(splits)
            self._splits = splits
        return self._splits

    def _check(self, splits: Splits) -> None:
        given, wanted = list(self.class_names), list(self.expected_names)
        if given and wanted and given != wanted:
            raise TrainingError(
                f"the data's classes are {_spelled(given)}, the supernet's {_spelled(wanted)}; give data of the "
                "supernet's classes, which are numbered in this order"
            )
        ranks, _ = self._ranks()
        share = count(splits.train) // ranks
        if share < self.batch_size:
            each = " of each process" if ranks > 1 else ""
            raise TrainingError(
                f"{share} training examples{each} don't fill a batch of {self.batch_size}; lower --data.batch_size"
            )
        for kind, examples in (("validation", splits.val), ("test", splits.test)):
            if count(examples) < ranks:  # a process without any would leave the others waiting for its metrics
                raise TrainingError(
                    f"{count(examples)} {kind} examples for {ranks} process(es); wanted one for each at least: give a "
                    "larger split, or hold out a larger share of the training split (--data.val_fraction)"
                )

    def setup(self, stage: str) -> None:
        """Read the data set before the first loader is asked for."""
        _ = self.splits

    def train_dataloader(self) -> DataLoader[Any]:
        """Each rank its own share, whole batches only; shuffled and augmented by (seed, epoch, index) alone.

        A training that is resumed continues with the batch that it was to train next.
        """
        examples = SeededExamples(self.splits.train, self.seed)
        order = EpochOrder(examples, *self._ranks(), self.seed, self._place, self.lengths, self.batch_size)
        return self._loader(examples, ResumableLoader, sampler=order, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """In order, all of them; each rank its own share, and every example once."""
        return self._loader(self.splits.val, sampler=OwnShare(self.splits.val, *self._ranks()))

    def test_dataloader(self) -> DataLoader[Any]:
        """As for validation."""
        return self._loader(self.splits.test, sampler=OwnShare(self.splits.test, *self._ranks()))

    def calibration_batches(self) -> Iterator[Inputs]:
        """Batches of training inputs without augmentation, in one fixed random order.

        Every rank gets its own share.
        """
        ranks, rank = self._ranks()
        examples = self.splits.calibration
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(count(examples), generator=generator)[rank::ranks].tolist()
        for batch, _ in self._loader(Subset(examples, order)):
            yield batch

    def held_out_batches(self) -> Iterator[tuple[Inputs, Tensor]]:
        """Labelled batches that are not trained on, to score units by: the first 32 of the validation data.

        Every rank gets the same ones, so that all put units in the same order.
        """
        yield from islice(self._loader(self.splits.val), HELD_OUT)

    def _ranks(self) -> tuple[int, int]:
        """Number of processes, and the own one's rank."""
        trainer = self.trainer
        return (trainer.world_size, trainer.global_rank) if trainer is not None else (1, 0)

    def _place(self) -> tuple[int, int] | None:
        """Position in the training: the epoch, and the number of its examples that this process has consumed."""
        trainer = self.trainer
        if trainer is None or trainer.num_training_batches == float("inf"):  # not fitting
            return None
        epoch, batches = divmod(trainer.fit_loop.total_batch_idx + 1, int(trainer.num_training_batches))
        return epoch, batches * self.batch_size

    def _loader(
        self, examples: Examples, kind: type[DataLoader[Any]] = DataLoader[Any], **options: Any
    ) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(self.seed)  # the workers' seeds
        options |= {"num_workers": self.workers, "collate_fn": self.collate, "generator": generator}
        return kind(examples, self.batch_size, **options)


class OwnShare(DistributedSampler[int]):
    """One rank's share of the examples, in order; together the ranks have each example once.

    Lightning would put PyTorch's own sampler in the place of any other kind, and that fills shares up with examples
    that others have. Here one rank may have a batch more than another, so nothing may be sent between ranks before all
    batches are done.
    """

    def __init__(self, examples: Examples, ranks: int, rank: int) -> None:
        super().__init__(examples, ranks, rank, shuffle=False)
        self.share = range(rank, count(examples), ranks)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share)

    def __len__(self) -> int:
        return len(self.share)


def count(examples: Examples) -> int:
    """The number of examples."""
    return len(examples)  # type: ignore[arg-type]


def _spelled(names: Sequence[str]) -> str:
    """The first few names, and how many there are."""
    more = f" … ({len(names)} in all)" if names[5:] else ""
    return ", ".join(names[:5]) + more
