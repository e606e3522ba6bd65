"""Predictors: a metric of any subnet from measurements of some, with an interval and an error that is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elastic.errors import ProfileError
from elastic.prediction.features import Encoder
from elastic.prediction.regression import (
    Linear,
    Model,
    Regression,
    Samples,
    fit_additive,
    fit_boosting,
    fit_corrected,
    fit_gp,
    fit_mlp,
    fit_ridge,
)
from elastic.prediction.roofline import fit_roofline
from elastic.space.space import Floats, Rows
from elastic.space.tables import Table
from elastic.support.packages import require_packages

FEWEST = 8
"""A prediction needs this many measured subnets."""

_FOLDS = 5

REGRESSIONS: Mapping[str, Regression] = {
    "additive": Regression(fit_additive, additive=True),
    "corrected": Regression(fit_corrected, additive=True, automatic=True),
    "ridge": Regression(fit_ridge, automatic=True),
    "roofline": Regression(fit_roofline, automatic=True, relative_only=True),
    "gp": Regression(fit_gp, automatic=True),
    "boosting": Regression(fit_boosting, automatic=True),
    "mlp": Regression(fit_mlp),
}
"""By name. `"auto"` leaves out an MLP, which takes long, and an additive fit, which is a ridge without costs."""


@dataclass(frozen=True)
class PredictionError:
    """Cross-validated error of predictions, for subnets that the fit didn't see.

    Attributes:
        mape: mean absolute error, relative to the measured value, in percent; infinite where one of these is 0.
        tau: Kendall's rank correlation of predicted and measured.
        n: number of subnets.
        rmse: root of the mean squared error, in the metric's unit.
    """

    mape: float
    tau: float
    n: int
    rmse: float

    @classmethod
    def of(cls, predicted: Floats, measured: Floats) -> PredictionError:
        """The error of predictions `(n,)` of measured values `(n,)`; NaN where there are none."""
        from scipy.stats import kendalltau

        if not len(measured):
            return cls(np.nan, np.nan, 0, np.nan)
        mape = float(np.mean(np.abs(predicted / measured - 1)) * 100) if measured.all() else np.inf
        rmse = float(np.sqrt(np.mean((predicted - measured) ** 2)))
        return cls(mape, float(kendalltau(predicted, measured).statistic), len(measured), rmse)


@dataclass(frozen=True)
class Predictor:
    """Predicts a metric of encoded archs; made by `fit_predictor`.

    Attributes:
        kind: the regression.
        features: what it sees of archs.
        model: maps features to predictions.
        relative: whether errors, and with them intervals, are relative to the metric.
        floor: the least that is predicted; a linear fit may go below zero far from what was measured.
        error: cross-validated.
        residuals: absolute errors, relative to the prediction where `relative`, on subnets left out of the fit.
        additive: whether it is a sum of small tables.
    """

    kind: str
    features: Encoder
    model: Model
    relative: bool
    floor: float
    error: PredictionError
    residuals: Floats
    additive: bool = False

    @cached_property
    def tables(self) -> tuple[Table, ...] | None:
        """The tables that it is a sum of, each over few dims, which exact search takes apart; None if it isn't one."""
        if not self.additive:
            return None
        assert isinstance(self.model, Linear)
        return self.features.weighted(self.model.weights, self.model.constant).tables

    def __call__(self, rows: Rows) -> Floats:
        """Predictions for encoded archs `(n, dims)`: float64 `(n,)`."""
        if not len(rows):
            return np.zeros(0)
        return np.maximum(self.model(self.features(rows)), self.floor)

    def interval(self, rows: Rows, coverage: float = 0.9) -> tuple[Floats, Floats]:
        """Lower and upper ends, float64 `(n,)` each, that hold a measured value with probability `coverage`.

        Split-conformal: the half-width is the `coverage` quantile of the cross-validation residuals, so no distribution
        of errors is assumed. Infinite where too few subnets were measured.

        Sources: Lei et al., "Distribution-Free Predictive Inference for Regression", JASA 2018, for one split;
        Vovk, "Cross-conformal predictors", Annals of Mathematics and AI 2015, for all folds together, as here.

        Raises:
            ProfileError: a coverage that isn't between 0 and 1.
        """
        if not 0 < coverage < 1:
            raise ProfileError(f"the coverage of an interval lies between 0 and 1, such as 0.9; got {coverage!r}")
        predicted = self(rows)
        rank = int(np.ceil((len(self.residuals) + 1) * coverage))
        reach = np.sort(self.residuals)[rank - 1] if rank <= len(self.residuals) else np.inf
        width = reach * (np.abs(predicted) if self.relative else np.ones_like(predicted))
        low = predicted - width
        return (np.maximum(low, 0.0) if self.relative else low), predicted + width


def fit_predictor(
    features: Encoder,
    rows: Rows,
    targets: NDArray[np.floating[Any]],
    kind: str = "auto",
    relative: bool = True,
    seed: int = 0,
) -> Predictor:
    """Fit a predictor to a metric measured on some subnets, to predict it for others.

    Args:
        features: what the regression sees, `elastic.prediction.features.ArchFeatures`.
        rows: the measured archs, encoded `(n, dims)`.
        targets: the metric of each `(n,)`.
        kind: `"additive"` (exact search takes it apart), `"ridge"`, `"roofline"`, `"gp"`, `"boosting"` or `"mlp"`;
            `"auto"` takes the one with the least cross-validated error.
        relative: whether errors count relative to the metric, as of latencies; else they are absolute, as of
            accuracies.
        seed: draws the folds, and what a regression draws.

    Raises:
        ProfileError: an unknown kind, too few measurements, or values that aren't numbers (above 0, if relative).
        PackageError: scikit-learn isn't installed.
    """
    require_packages("a prediction", "sklearn", "scipy")
    measured: Floats = np.asarray(targets, np.float64)
    _check(rows, measured, relative)
    names = _suitable(features, kind, relative)
    samples = Samples(features(rows), measured, features.groups, relative, seed)
    floors = {name: _floor(name, measured, relative) for name in names}
    left_out = {name: np.maximum(_cross_validate(REGRESSIONS[name], samples), floor) for name, floor in floors.items()}
    errors = {name: PredictionError.of(predicted, measured) for name, predicted in left_out.items()}
    best = min(names, key=lambda name: errors[name].mape if relative else errors[name].rmse)
    model, additive = REGRESSIONS[best].fit(samples), REGRESSIONS[best].additive
    residuals = absolute_errors(left_out[best], measured, relative)
    return Predictor(best, features, model, relative, floors[best], errors[best], residuals, additive)


def absolute_errors(predicted: Floats, measured: Floats, relative: bool) -> Floats:
    """Distances of measured values from predictions, relative to these if asked to: float64 `(n,)`."""
    distances: Floats = np.abs(measured - predicted)
    return distances / np.abs(predicted) if relative else distances


def _floor(kind: str, measured: Floats, relative: bool) -> float:
    """Lower bound on predictions; none for a sum of tables, which must stay one."""
    return float(measured.min()) / 2 if relative and not REGRESSIONS[kind].additive else -np.inf


def _suitable(features: Encoder, kind: str, relative: bool) -> list[str]:
    """The regressions to try."""
    suitable = [name for name in features.kinds if relative or not REGRESSIONS[name].relative_only]
    if kind != "auto" and kind not in suitable:
        raise ProfileError(f"no predictor {kind!r} of such a metric; choose auto or one of {', '.join(suitable)}")
    return [name for name in suitable if REGRESSIONS[name].automatic] if kind == "auto" else [kind]


def _cross_validate(regression: Regression, samples: Samples) -> Floats:
    """A prediction for each subnet by a model that didn't see it."""
    from sklearn.model_selection import KFold

    predicted = np.empty_like(samples.targets)
    for seen, left_out in KFold(_FOLDS, shuffle=True, random_state=samples.seed).split(samples.features):
        predicted[left_out] = regression.fit(samples.some(seen))(samples.features[left_out])
    return predicted


def check_count(subnets: int) -> None:
    """Check that there are enough measured subnets for a prediction.

    Raises:
        ProfileError: they are too few.
    """
    if subnets < FEWEST:
        raise ProfileError(
            f"a prediction needs {FEWEST} measured subnets or more, got {subnets}; measure more (--subnets of elastic "
            "profile, --predictor of elastic search)"
        )


def _check(rows: Rows, targets: Floats, relative: bool) -> None:
    if targets.shape != (len(rows),):
        raise ProfileError(f"wanted one value for each of {len(rows)} subnets, got shape {targets.shape}")
    check_count(len(targets))
    wrong = ~np.isfinite(targets) | (targets <= 0 if relative else False)
    if wrong.any():
        wanted = "numbers above 0" if relative else "finite numbers"
        raise ProfileError(f"measured values must be {wanted}; that of subnet {wrong.argmax()} is {targets[wrong][0]}")
