"""Every data set that timm reads: folders and tars of images, torchvision's and Hugging Face's data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from timm.data import DEFAULT_CROP_PCT, ImageDataset, create_dataset, create_transform
from torch.utils.data import Dataset, Subset
from torchvision.transforms import Compose

from elastic.errors import TrainingError, first_line
from trainers.data.image_data import ImageDataModule
from trainers.data.supernet_data import Examples, Splits, count

if TYPE_CHECKING:
    from PIL.Image import Image


class _Colours:
    """Makes an image grey or coloured, whatever it was."""

    def __init__(self, channels: int) -> None:
        self.mode = "L" if channels == 1 else "RGB"

    def __call__(self, image: Image) -> Image:
        return image.convert(self.mode)


class _ReadableImages(Dataset[Any]):
    """timm's images: it takes the next where one can't be read, and gives up after some; then the file is named."""

    def __init__(self, images: ImageDataset) -> None:
        self.images = images
        self.reader = images.reader

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        """The image and its class.

        Raises:
            TrainingError: neither this image nor those after it can be read.
        """
        try:
            return self.images[index]
        except (RuntimeError, OSError) as error:
            if isinstance(error, RuntimeError) and "consecutive" not in str(error):
                raise
            file = self.images.filename(index, absolute=True)
            raise TrainingError(
                f"{file} can't be read as an image, nor can those after it ({first_line(error)}); remove such files, "
                "or replace them"
            ) from error


class TimmData(ImageDataModule):
    """A data set of `timm.data.create_dataset`, with the transforms of `timm.data.create_transform`."""

    def __init__(
        self,
        name: str = "",
        root: str = "data",
        download: bool = False,
        train_split: str = "train",
        val_split: str | None = "validation",
        test_split: str | None = None,
        val_fraction: float = 0.1,
        input_size: Sequence[int] = (3, 224, 224),
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        train_transform: dict[str, Any] | None = None,
        eval_transform: dict[str, Any] | None = None,
        batch_size: int = 128,
        workers: int = 2,
        seed: int = 0,
        mixup: dict[str, Any] | None = None,
    ) -> None:
        """Nothing is read before `setup`.

        Args:
            name: as for `timm.data.create_dataset`: "" is a folder or tar of images, `torch/fashion_mnist`,
                `torch/cifar10`, `hfds/…`.
            root: the data's folder.
            download: fetch what is missing, where the data set can.
            train_split: name of the training split.
            val_split: name of the validation split; None takes `val_fraction` of the training split.
            test_split: name of the test split; None takes the validation split.
            val_fraction: share of the training split that is for validation where `val_split` is None.
            input_size: channels, height and width that the images are made to have; 1 channel reads them grey.
            mean: subtracted per channel, of values between 0 and 1.
            std: divided by, per channel.
            train_transform: more arguments of `timm.data.create_transform` for training (`hflip`, `scale`,
                `auto_augment`, …).
            eval_transform: more of them for validation and test (`crop_pct`, `interpolation`, …).
            batch_size: images per step and process.
            workers: processes that prepare images; 0 does it in the training process.
            seed: of the order, and of the split where one is made.
            mixup: arguments of `timm.data.Mixup`, such as {mixup_alpha: 0.8, cutmix_alpha: 1.0}; None: no mixing.

        Raises:
            TrainingError: sizes, means or standard deviations that no image has.
        """
        super().__init__(batch_size, workers, seed, mixup)
        if val_split is None and not 0 < val_fraction < 1:
            raise TrainingError(f"--data.val_fraction is a share of the images, between 0 and 1; got {val_fraction}")
        self.dataset = name
        self.root = root
        self.download = download
        self.train_split = train_split
        self.val_split = val_split
        self.test_split = test_split
        self.val_fraction = val_fraction
        self.input_size = _checked(input_size, mean, std)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.train_transform = dict(train_transform or {})
        self.eval_transform = dict(eval_transform or {})

    def prepare_data(self) -> None:
        """Fetch the data once, in one process, where `download` says so."""
        if self.download:
            self._open(self.train_split, training=True)

    def load(self) -> Splits:
        """Open the splits, or cut the validation part off the training split.

        The classes of all splits are numbered as those of the training split.
        """
        train, plain = self._open(self.train_split, training=True), self._open(self.train_split, training=False)
        numbers = _class_numbers(train)
        self.class_names = sorted(numbers, key=numbers.__getitem__) or list(getattr(train, "classes", ()))
        if self.val_split is not None:
            val = self._open(self.val_split, training=False, numbers=numbers)
        else:
            generator = torch.Generator().manual_seed(self.seed)
            order = torch.randperm(count(train), generator=generator).tolist()
            kept = round(len(order) * self.val_fraction)
            train, plain, val = Subset(train, order[kept:]), Subset(plain, order[kept:]), Subset(plain, order[:kept])
        test = val if self.test_split is None else self._open(self.test_split, training=False, numbers=numbers)
        return Splits(train, plain, val, test)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """As in timm's data configurations: values between 0 and 1, resized and cropped, minus mean, over std."""
        size = {"input_size": list(self.input_size), "mean": list(self.mean), "std": list(self.std)}
        given = {key: value for key, value in self.eval_transform.items() if value is not None}
        return {**size, "interpolation": "bilinear", "crop_pct": DEFAULT_CROP_PCT, "crop_mode": "center", **given}

    def _open(self, split: str, training: bool, numbers: Mapping[str, int] | None = None) -> Examples:
        dataset: Any = self._create(split)
        if numbers and _class_numbers(dataset) != numbers:
            unknown = sorted(_class_numbers(dataset).keys() - numbers.keys())
            if unknown:
                raise TrainingError(
                    f"split {split!r} of {self.root} has {len(unknown)} class(es) that {self.train_split!r} lacks: "
                    f"{', '.join(unknown[:3])}{' …' if unknown[3:] else ''}; remove them, or train on them"
                )
            dataset = self._create(split, class_map=dict(numbers))
        dataset.transform = Compose([_Colours(self.input_size[0]), self._transform(training)])
        return _ReadableImages(dataset) if isinstance(dataset, ImageDataset) else cast(Examples, dataset)

    def _create(self, split: str, **options: Any) -> Any:
        if not self.download and not self.dataset.lower().startswith("hf") and not Path(self.root).exists():
            raise TrainingError(
                f"there is no data in {self.root}: no such folder; say where it is (--data.root), "
                "or fetch it (--data.download true) if the data set can be fetched"
            )
        try:
            return create_dataset(self.dataset, self.root, split=split, download=self.download, **options)
        except (RuntimeError, AssertionError, ValueError, OSError, ImportError) as error:
            raise TrainingError(
                f"can't read split {split!r} of {self.dataset or 'the image folder'} in {self.root}: "
                f"{first_line(error)}"
            ) from error

    def _transform(self, training: bool) -> Any:
        options = self.train_transform if training else self.eval_transform
        try:
            return create_transform(self.input_size, training, mean=self.mean, std=self.std, **options)
        except TypeError as error:
            key = "train_transform" if training else "eval_transform"
            raise TrainingError(f"--data.{key} {options}: {error}; see timm.data.create_transform") from error


def _class_numbers(images: object) -> dict[str, int]:
    """The number of each class by its name; empty where timm reads none: torchvision's data sets have numbers only."""
    return dict(getattr(getattr(images, "reader", None), "class_to_idx", None) or {})


def _checked(input_size: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> tuple[int, int, int]:
    """Channels, height and width of images that can be normalised so.

    Raises:
        TrainingError: they can't.
    """
    if len(input_size) != 3 or min(input_size) < 1 or input_size[0] not in (1, 3):
        raise TrainingError(
            "--data.input_size is channels (1: grey, 3: coloured), height and width of the images, such as "
            f"[3, 224, 224]; got {list(input_size)}"
        )
    channels, height, width = input_size
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            kind, other = ("grey", 3) if channels == 1 else ("coloured", 1)
            raise TrainingError(
                f"--data.{name} is one number for each channel: {channels} for {kind} images, got {list(values)}. "
                f"Give --data.mean {[0.5] * channels} --data.std {[0.5] * channels}, or the values of your images; or "
                f"read the images with {other} channel(s): --data.input_size {[other, height, width]}"
            )
    if min(std) <= 0:
        raise TrainingError(f"--data.std is divided by, so above 0; got {list(std)}")
    return channels, height, width
