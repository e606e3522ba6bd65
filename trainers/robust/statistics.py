"""BatchNorm statistics of networks that were trained under attack: those of attacked images.

Each pass of a training normalises by its own batch, one of attacked images by those. With the statistics of images as
they are, much of the robust accuracy can be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elastic.errors import CheckpointError, TrainingError
from elastic.layers.batchnorm import has_batchnorm, recalibrate
from elastic.supernet.evaluation import Recalibrate
from elastic.support.inputs import predict
from trainers.class_paths import own_class
from trainers.configurations import read_configuration
from trainers.methods.adversary import Adversary, seeded
from trainers.robust.robust_loss import RobustLoss


def recalibrate_attacked(model: nn.Module, batches: Iterable[Tensor], adversary: Adversary, seed: int = 0) -> None:
    """Set the BatchNorm statistics of `model` to those of attacked images, in place.

    They are attacked as they will be: in evaluation mode, with the statistics of images as they are; by the
    cross-entropy with what the model says of these, so that labels aren't needed. A model without BatchNorm is left
    alone.

    Args:
        model: any module; its mode is kept.
        batches: training images `(N, C, H, W)` between 0 and 1.
        adversary: that of the training.
        seed: of where the ascents start.
    """
    if not has_batchnorm(model):
        return
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.inference_mode(False):
            images = [batch.clone() for batch in batches]  # what was made in inference mode has no gradients
            recalibrate(model, images)
            with torch.no_grad():
                labels = [predict(model, batch).argmax(1) for batch in images]
            pairs = enumerate(zip(images, labels, strict=True))
            recalibrate(model, [adversary.deceive(model, *pair, seeded(seed, at)) for at, pair in pairs])
    finally:
        for module, mode in modes:
            module.training = mode


def recalibration(adversary: Adversary | None) -> Recalibrate:
    """The function that re-estimates statistics: on attacked images if there is an adversary."""
    return recalibrate if adversary is None else partial(recalibrate_attacked, adversary=adversary)


def describe_statistics(adversary: Adversary | None) -> dict[str, Any]:
    """Settings of BatchNorm re-estimation as plain values; with an adversary, attacked images are used.

    `elastic.supernet.folder.save_supernet` writes it down, and `read_statistics` reads it.
    """
    return {} if adversary is None else {"adversary": asdict(adversary)}


def read_statistics(described: Mapping[str, Any]) -> Recalibrate:
    """The function that re-estimates statistics, from the result of `describe_statistics`.

    Raises:
        CheckpointError: something else.
    """
    if not described:
        return recalibrate
    try:
        (options,) = (described[key] for key in {"adversary", *described})  # nothing else is known
        return recalibration(Adversary(**options))
    except (KeyError, TypeError, ValueError, TrainingError) as error:
        raise CheckpointError(
            f"the description of BatchNorm statistics is {dict(described)!r:.100}; wanted nothing, or an adversary and "
            "its options"
        ) from error


def statistics_of_run(config: Path) -> Recalibrate:
    """The function that re-estimates statistics, for runs of former versions, whose `supernet.json` lacks it.

    Args:
        config: the training's configuration; it may be missing.
    """
    options = _trained_under(config)
    return read_statistics({} if options is None else {"adversary": options})


def _trained_under(config: Path) -> Mapping[str, Any] | None:
    """The adversary's options of a run whose last phase was trained under attack."""
    model = (read_configuration(config) or {}).get("model") if config.is_file() else None
    if not model:
        return None
    phases = (model.get("curriculum") or {}).get("phases") or [{}]
    distiller = phases[-1].get("distiller") or model.get("distiller") or {}
    if not _is_robust(distiller):
        return None
    options: Mapping[str, Any] = model.get("adversary") or {}
    return options


def _is_robust(distiller: Any) -> bool:
    """Whether a description names a robust loss of this project; no other class is imported."""
    found = own_class(distiller.get("class_path")) if isinstance(distiller, Mapping) else None
    return found is not None and issubclass(found, RobustLoss)
