"""Latency predicted from whole-subnet measurements: a ridge regression over encoded archs and their costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elastic.space import Rows
from elastic.supernet import Supernet

Floats = NDArray[np.float64]

_FOLDS = 5
_COSTS = 4
"""So many features come first that are costs rather than choices."""


@dataclass(frozen=True)
class PredictionError:
    """How well latencies are predicted for subnets that the fit didn't see (cross-validated).

    Attributes:
        mape: mean absolute error, relative to the measured figure, in percent.
        tau: Kendall's rank correlation of predicted and measured.
        n: number of subnets.
    """

    mape: float
    tau: float
    n: int


def arch_features(supernet: Supernet, rows: Rows) -> Floats:
    """What the regression sees of each arch: float64 `(n, features)`.

    MACs, parameters and activation memory; the number of dims that exist; and each choice of each dim as 0 or
    1, all 0 where the dim doesn't exist.
    """
    space = supernet.space
    exists = space.existing(rows)
    costs = [supernet.macs(rows), supernet.params(rows), supernet.memory(rows), np.sum(exists, axis=0)]
    columns = [cost.astype(np.float64) for cost in costs]
    for column, dim in enumerate(space.dims):
        columns += [(exists[column] & (rows[:, column] == at)).astype(np.float64) for at in range(len(dim.choices))]
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class LatencyModel:
    """A ridge regression on standardised features."""

    mean: Floats
    scale: Floats
    ridge: Any

    def predict(self, features: Floats) -> Floats:
        """Milliseconds, float64 `(n,)`, for features `(n, features)`."""
        predicted: Floats = self.ridge.predict((features - self.mean) / self.scale)
        return predicted


def fit_latency(features: Floats, milliseconds: Floats) -> LatencyModel:
    """Fit features `(n, features)` to measured milliseconds `(n,)`.

    Errors count relative to the latency. The costs, which explain most of it, are penalised least; how much
    the rest is penalised is chosen by leave-one-out.
    """
    from sklearn.linear_model import RidgeCV

    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1.0
    scale[:_COSTS] /= np.sqrt(features.shape[1])
    ridge = RidgeCV(np.logspace(-3, 4, 15))
    ridge.fit((features - mean) / scale, milliseconds, sample_weight=milliseconds**-2.0)
    return LatencyModel(mean, scale, ridge)


def cross_validate(features: Floats, milliseconds: Floats, seed: int = 0) -> PredictionError:
    """The error of `fit_latency` on subnets left out of the fit, each once."""
    from scipy.stats import kendalltau
    from sklearn.model_selection import KFold

    predicted = np.empty_like(milliseconds)
    folds = KFold(min(_FOLDS, len(milliseconds)), shuffle=True, random_state=seed)
    for fitted, left_out in folds.split(features):
        predicted[left_out] = fit_latency(features[fitted], milliseconds[fitted]).predict(features[left_out])
    mape = float(np.mean(np.abs(predicted / milliseconds - 1)) * 100)
    return PredictionError(mape, float(kendalltau(predicted, milliseconds).statistic), len(milliseconds))
