"""The latency of subnets on one device, predicted from whole subnets, from their blocks, or from both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from elastic.errors import ProfileError
from elastic.prediction.features import ArchFeatures
from elastic.prediction.predictor import (
    FEWEST,
    PredictionError,
    Predictor,
    absolute_errors,
    fit_predictor,
)
from elastic.prediction.regression import Linear
from elastic.profiles.block_table import LatencyTable, TableFeatures
from elastic.profiles.blocks import Block, find_blocks
from elastic.profiles.plan import narrowed
from elastic.profiles.published_names import naming
from elastic.space.arch import Arch
from elastic.space.space import Floats, Rows
from elastic.supernet.supernet import Supernet

_FROM_BLOCKS = ("table", "corrected")


def fit_latency(
    supernet: Supernet,
    archs: Sequence[Arch],
    milliseconds: Floats,
    sums: Callable[[], TableFeatures] | None = None,
    kind: str = "auto",
) -> Predictor:
    """A predictor of latency in milliseconds.

    Args:
        supernet: whose subnets.
        archs: those that were measured whole.
        milliseconds: what each takes, `(n,)`.
        sums: gives the sums of measured blocks; None where there are none.
        kind: `"table"` sums up blocks, `"corrected"` fits such sums to whole subnets; for the others, which need
            none, see `elastic.prediction.predictor`. `"auto"` takes what has the least cross-validated error,
            and the table where too few whole subnets were measured.

    Raises:
        ProfileError: an unknown kind, too few whole subnets, or blocks that are missing.
    """
    rows = supernet.space.encode(archs)
    if sums is None and kind in _FROM_BLOCKS:
        raise ProfileError("the profile has no blocks to sum up; measure them, or predict from whole subnets")
    if sums and (kind == "table" or (kind == "auto" and len(archs) < FEWEST)):
        return _from_table(sums(), rows, milliseconds)
    if sums and kind == "corrected":
        return fit_predictor(sums(), rows, milliseconds, kind)
    fitted = fit_predictor(ArchFeatures(supernet.space, supernet), rows, milliseconds, kind)
    if kind != "auto" or sums is None:
        return fitted
    corrected = fit_predictor(sums(), rows, milliseconds, "corrected")
    return min(fitted, corrected, key=lambda one: one.error.mape)


def named_blocks(supernet: Supernet, signatures: Iterable[str], resolutions: Sequence[int]) -> tuple[Block, ...]:
    """The supernet's blocks at these resolutions (all that it has where empty), named as the signatures are."""
    return find_blocks(supernet, narrowed(supernet, resolutions), naming(signatures))


def sum_blocks(
    supernet: Supernet, found: Sequence[Block], milliseconds: Mapping[str, float], resolutions: Sequence[int]
) -> TableFeatures:
    """Features of archs: the sum of their blocks' latencies, given by signature, and the number of blocks."""
    table = LatencyTable(supernet.space, found, milliseconds, narrowed(supernet, resolutions))
    return TableFeatures(table, found)


def _from_table(features: TableFeatures, rows: Rows, milliseconds: Floats) -> Predictor:
    """The table as it is; whole subnets only say how far it is off."""
    predicted = features.table(rows)
    error = PredictionError.of(predicted, milliseconds)
    residuals = absolute_errors(predicted, milliseconds, relative=True)
    model = Linear(np.array([1.0, 0.0]), 0.0)
    return Predictor("table", features, model, True, -np.inf, error, residuals, additive=True)
