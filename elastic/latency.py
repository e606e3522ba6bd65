"""The latency of subnets on one device, predicted from whole subnets, from their blocks, or from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from elastic.arch import Arch
from elastic.blocks import parts
from elastic.errors import ProfileError
from elastic.features import Features, Floats
from elastic.latency_table import LatencyTable, TableFeatures
from elastic.ofa_signatures import naming
from elastic.prediction import (
    FEWEST,
    AdditivePredictor,
    PredictionError,
    Predictor,
    absolute_errors,
    fit_predictor,
)
from elastic.regression import Linear
from elastic.space import Rows
from elastic.supernet import Supernet

__all__ = ["Floats", "PredictionError", "fit_latency"]


def fit_latency(
    supernet: Supernet,
    archs: Sequence[Arch],
    milliseconds: Floats,
    blocks: Mapping[str, float],
    resolutions: Sequence[int] = (),
    kind: str = "auto",
) -> Predictor:
    """A predictor of latency in milliseconds.

    Args:
        supernet: whose subnets.
        archs: those that were measured whole.
        milliseconds: what each takes, `(n,)`.
        blocks: what each block takes, by signature (`elastic.blocks`, or `elastic.ofa_tables`); may be empty.
        resolutions: those that were measured; all that the supernet has where empty.
        kind: `"table"` sums up blocks, `"corrected"` fits such sums to whole subnets; for the others, which need
            none, see `elastic.prediction.fit_predictor`. `"auto"` takes what has the least cross-validated error,
            and the table where too few whole subnets were measured.

    Raises:
        ProfileError: an unknown kind, too few whole subnets, or blocks that are missing.
    """
    rows = supernet.space.encode(archs)
    few = len(archs) < FEWEST
    if kind == "table" or (kind == "auto" and few and blocks):
        return _from_table(_table_features(supernet, blocks, resolutions), rows, milliseconds)
    if kind == "corrected":
        return fit_predictor(_table_features(supernet, blocks, resolutions), rows, milliseconds, kind)
    fitted = fit_predictor(Features(supernet.space, supernet), rows, milliseconds, kind)
    if kind != "auto" or not blocks:
        return fitted
    corrected = fit_predictor(_table_features(supernet, blocks, resolutions), rows, milliseconds, "corrected")
    return min(fitted, corrected, key=lambda one: one.error.mape)


def _table_features(supernet: Supernet, blocks: Mapping[str, float], resolutions: Sequence[int]) -> TableFeatures:
    if not blocks:
        raise ProfileError("the profile has no blocks to sum up; measure them, or predict from whole subnets")
    space = supernet.space.narrow({"resolution": resolutions}) if resolutions else supernet.space
    found = parts(supernet, space, naming(blocks))
    return TableFeatures(LatencyTable(supernet.space, found, blocks, space), found)


def _from_table(features: TableFeatures, rows: Rows, milliseconds: Floats) -> Predictor:
    """The table as it is; whole subnets only say how far it is off."""
    predicted = features.table(rows)
    error = PredictionError.of(predicted, milliseconds)
    residuals = absolute_errors(predicted, milliseconds, relative=True)
    return AdditivePredictor("table", features, Linear(np.array([1.0, 0.0]), 0.0), True, -np.inf, error, residuals)
