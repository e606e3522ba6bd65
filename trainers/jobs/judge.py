"""Judging subnets: on validation images for the search, and afterwards on images that it did not use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from elastic.errors import CheckpointError
from elastic.layers.batchnorm import recalibrate
from elastic.supernet.evaluation import Batch, MeasuredAccuracy, Recalibrate
from elastic.supernet.supernet import Supernet
from elastic.support.inputs import predict
from trainers.jobs.calibration import calibration_for, first_images
from trainers.methods.adversary import check_pixels
from trainers.robust.accuracy import RobustAccuracy
from trainers.robust.attacks import Threat

if TYPE_CHECKING:
    from trainers.data.supernet_data import SupernetData


def held_out(data: SupernetData, split: str, images: int, batch: int) -> tuple[list[Batch], str]:
    """Labelled images, and a sentence on which they are.

    Args:
        data: where they are from.
        split: test or val; where a data set has no test images of its own, its validation images are taken.
        images: how many, at most.
        batch: in batches of so many.

    Raises:
        TrainingError: no images between 0 and 1.
    """
    borrowed = split == "test" and not data.splits.has_test
    loader = data.test_dataloader() if split == "test" and not borrowed else data.val_dataloader()
    kept = first_images(loader, images)
    for inputs, _ in kept:
        check_pixels(inputs)
    pixels, labels = (torch.cat(parts)[:images] for parts in zip(*kept, strict=True))
    kind = "test" if split == "test" and not borrowed else "validation"
    where = f"{len(labels)} {kind} images."
    if borrowed:
        where += (
            " This data set has no test images of its own; where subnets were chosen by these, expect less of others."
        )
    return list(zip(pixels.split(batch), labels.split(batch), strict=True)), where


def check_finite(supernet: Supernet, name: str, device: str) -> None:
    """Run the smallest and the largest subnet on made-up inputs.

    Args:
        supernet: its device is the CPU afterwards.
        name: what to call it in the message.
        device: where they are run.

    Raises:
        CheckpointError: what they give isn't finite.
    """
    supernet.to(device)
    for size, arch in (("smallest", supernet.space.smallest), ("largest", supernet.space.largest)):
        with supernet.active(arch), torch.inference_mode():
            outputs = predict(supernet, supernet.example_inputs(arch, device=device, seed=0))
        if not outputs.isfinite().all():
            raise CheckpointError(f"{name}: the {size} subnet's outputs aren't finite; get the weights anew")
    supernet.cpu()


def name_of(data: SupernetData) -> str:
    """Name of the data, for cards."""
    place = getattr(data, "dataset", "") or Path(getattr(data, "root", "")).name
    return " ".join(word for word in (type(data).__name__, place) if word)


def digest_examples(examples: Iterable[Any]) -> str:
    """Eight hexadecimal digits for what examples hold: tensors, and sequences and mappings of them."""
    digest = hashlib.blake2b(digest_size=4)

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        elif isinstance(value, Mapping):
            for key, one in value.items():
                digest.update(str(key).encode())
                add(one)
        elif isinstance(value, (list, tuple)):
            for one in value:
                add(one)
        else:
            digest.update(repr(value).encode())

    add(list(examples))
    return digest.hexdigest()


class Judge:
    """Measures subnets: for the search on validation images, afterwards on images that the search hasn't seen.

    Attributes:
        data: the data they are judged on.
        metrics: names of the metrics.
        validation: measures a subnet for the search.
        fresh: measures one on other images; None where there are none.
        digest: eight hexadecimal digits for the examples that `validation` takes: its measurements belong to these.

    Args:
        supernet: whose subnets.
        data: the images; those for afterwards are the test images, or validation images that are left over where
            a data set has no others.
        images: largest number of images to judge on.
        threat: measures the accuracy under attack, too, within this.
        again: the attack on the fresh images.
        recalibrate: re-estimates BatchNorm statistics.
    """

    def __init__(
        self,
        supernet: Supernet,
        data: SupernetData,
        images: int = 2048,
        threat: Threat | None = None,
        again: str = "apgd-ce",
        recalibrate: Recalibrate = recalibrate,
    ) -> None:
        calibration = calibration_for(supernet, data)
        validation = data.val_dataloader()
        chosen = first_images(validation, images)
        from trainers.data.metrics import measure

        by = None if data.metric == "accuracy" else partial(measure, data.metric)

        def judging(batches: list[Batch], attack: str) -> MeasuredAccuracy:
            if threat is not None:
                return RobustAccuracy(supernet, batches, calibration, attack, threat, recalibrate=recalibrate)
            return MeasuredAccuracy(supernet, batches, calibration, data.metric, by, recalibrate)

        self.data = data
        self.metrics = [data.metric] if threat is None else ["accuracy", "robust"]
        self.validation = judging(chosen, "pgd-20")
        self.digest = digest_examples([*chosen, *calibration])
        left = data.test_dataloader() if data.splits.has_test else islice(validation, len(chosen), None)
        fresh = first_images(left, images)
        self.fresh = judging(fresh, again) if fresh else None
