"""How BatchNorm statistics are re-estimated: on training images, attacked ones after a training under attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from elastic.errors import CheckpointError, TrainingError
from elastic.layers.batchnorm import recalibrate
from elastic.supernet.evaluation import Recalibrate
from trainers.class_paths import own_class
from trainers.configurations import read_configuration
from trainers.methods.adversary import Adversary
from trainers.robust.attacked_batchnorm import recalibrate_attacked
from trainers.robust.robust_loss import RobustLoss


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
