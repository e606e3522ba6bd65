"""A folder of images as a model wants them: what a published network is specialised with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from timm.data import resolve_data_config

from elastic import Supernet
from elastic.errors import TrainingError
from elastic.upstream import library_of
from trainers.data.supernet_data import Splits, count
from trainers.data.timm_data import TimmData


class ImageFolder(TimmData):
    """FOLDER/train/CLASS/* and FOLDER/val/CLASS/*, prepared as the supernet's model says; see `timm.data`."""

    def __init__(self, folder: str | Path, supernet: Supernet, batch_size: int = 128) -> None:
        """Nothing is read before `setup`.

        Args:
            folder: of the images; its class folders, in alphabetical order, are the model's classes.
            supernet: whose model says size, mean, standard deviation, crop and interpolation.
            batch_size: images per batch; fewer where the folder has fewer.
        """
        config: dict[str, Any] = resolve_data_config(model=supernet.model)
        shape = supernet.input_shape(supernet.space.largest)
        mean, std = (_for_channels(config[name], shape[0]) for name in ("mean", "std"))
        super().__init__(
            root=str(folder),
            input_size=shape,
            mean=mean,
            std=std,
            eval_transform={key: config[key] for key in ("crop_pct", "interpolation")},
            batch_size=batch_size,
            workers=min(os.cpu_count() or 1, 4),
        )
        self.classes = library_of(supernet.model).classes

    def load(self) -> Splits:
        """Open both splits.

        Raises:
            TrainingError: other classes than the model's.
        """
        splits = super().load()
        for name, images in (("train", splits.train), ("val", splits.val)):
            classes = len(cast(Any, images).reader.class_to_idx)
            if classes != self.classes:
                raise TrainingError(
                    f"{self.root} has {classes} classes in its split {name!r}, the supernet {self.classes}; give a "
                    "folder of the supernet's classes: train/CLASS/*, val/CLASS/*"
                )
        self.batch_size = min(self.batch_size, count(splits.train))
        return splits


def _for_channels(values: Sequence[float], channels: int) -> list[float]:
    """One value for each channel; where there are more or fewer values, their mean for all channels."""
    return list(values) if len(values) == channels else [sum(values) / len(values)] * channels
