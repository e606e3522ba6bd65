"""Predictors: a figure of any subnet from measurements of some, with an interval and an error that is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from elastic.errors import ProfileError
from elastic.prediction.features import Encoder
from elastic.prediction.regression import (
    Fit,
    Linear,
    Model,
    fit_additive,
    fit_boosting,
    fit_corrected,
    fit_gp,
    fit_mlp,
    fit_ridge,
)
from elastic.prediction.roofline import fit_roofline
from elastic.space.space import Floats, Rows, SearchSpace
from elastic.support.packages import require_packages

if TYPE_CHECKING:
    from elastic.space.tables import Table

FEWEST = 8
"""Fewer measured subnets than this can't carry a prediction."""

_FOLDS = 5

KINDS: Mapping[str, Fit] = {
    "additive": fit_additive,
    "corrected": fit_corrected,
    "ridge": fit_ridge,
    "roofline": fit_roofline,
    "gp": fit_gp,
    "boosting": fit_boosting,
    "mlp": fit_mlp,
}
"""Regressions by name."""

AUTO = ("ridge", "roofline", "gp", "boosting", "corrected")
"""Those that `"auto"` chooses from: an MLP takes long, and an additive fit is a ridge without costs."""

_ADDITIVE = ("additive", "corrected")
"""Those that are sums of small tables."""


@dataclass(frozen=True)
class PredictionError:
    """How far predictions are off for subnets that the fit didn't see (cross-validated).

    Attributes:
        mape: mean absolute error, relative to the measured figure, in percent; infinite where one of these is 0.
        tau: Kendall's rank correlation of predicted and measured.
        n: number of subnets.
        rmse: root of the mean squared error, in the figure's unit.
    """

    mape: float
    tau: float
    n: int
    rmse: float

    @classmethod
    def of(cls, predicted: Floats, measured: Floats) -> PredictionError:
        """The error of predictions `(n,)` of measured figures `(n,)`; NaN where there are none."""
        from scipy.stats import kendalltau

        if not len(measured):
            return cls(np.nan, np.nan, 0, np.nan)
        mape = float(np.mean(np.abs(predicted / measured - 1)) * 100) if measured.all() else np.inf
        rmse = float(np.sqrt(np.mean((predicted - measured) ** 2)))
        return cls(mape, float(kendalltau(predicted, measured).statistic), len(measured), rmse)


@dataclass(frozen=True)
class Predictor:
    """Predicts a figure of encoded archs; made by `fit_predictor`.

    Attributes:
        kind: the regression.
        features: what it sees of archs.
        model: maps features to predictions.
        relative: whether errors, and with them intervals, are relative to the figure.
        floor: the least that is predicted; a linear fit may go below zero far from what was measured.
        error: cross-validated.
        residuals: absolute errors, relative to the prediction where `relative`, on subnets left out of the fit.
    """

    kind: str
    features: Encoder
    model: Model
    relative: bool
    floor: float
    error: PredictionError
    residuals: Floats

    def __call__(self, rows: Rows) -> Floats:
        """Predictions for encoded archs `(n, dims)`: float64 `(n,)`."""
        if not len(rows):
            return np.zeros(0)
        return np.maximum(self.model(self.features(rows)), self.floor)

    def interval(self, rows: Rows, coverage: float = 0.9) -> tuple[Floats, Floats]:
        """Lower and upper ends, float64 `(n,)` each, that hold a measured figure with probability `coverage`.

        Conformal: the ends are as far from the prediction as that share of subnets was that the fit didn't
        see, whatever the errors' distribution. Infinite where too few were measured to say so.

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


class AdditivePredictor(Predictor):
    """A predictor that is a sum of small tables, which exact search takes apart (`elastic.space.tables`)."""

    def tables(self, space: SearchSpace) -> list[Table]:
        """The addends, each over few dims; their sum over canonical archs is what calling gives."""
        assert isinstance(self.model, Linear)
        return self.features.tables(self.model.weights, self.model.constant)


def fit_predictor(
    features: Encoder,
    rows: Rows,
    targets: NDArray[np.floating[Any]],
    kind: str = "auto",
    relative: bool = True,
    seed: int = 0,
) -> Predictor:
    """Fit measured figures of some subnets, to predict those of others.

    Args:
        features: what the regression sees, `elastic.prediction.features.Features`.
        rows: the measured archs, encoded `(n, dims)`.
        targets: their figures `(n,)`.
        kind: `"additive"` (exact search takes it apart), `"ridge"`, `"roofline"`, `"gp"`, `"boosting"` or `"mlp"`;
            `"auto"` takes the one with the least cross-validated error.
        relative: whether errors count relative to the figure, as of latencies; else they are absolute, as of
            accuracies.
        seed: draws the folds, and what a regression draws.

    Raises:
        ProfileError: an unknown kind, too few measurements, or figures that aren't numbers (above 0, if relative).
        PackageError: scikit-learn isn't installed.
    """
    require_packages("a prediction", "sklearn", "scipy")
    measured: Floats = np.asarray(targets, np.float64)
    _check(rows, measured, relative)
    names = _suitable(features, kind, relative)
    encoded = features(rows)
    floors = {name: _floor(name, measured, relative) for name in names}
    left_out = {
        name: np.maximum(_cross_validate(KINDS[name], encoded, measured, features, relative, seed), floor)
        for name, floor in floors.items()
    }
    errors = {name: PredictionError.of(predicted, measured) for name, predicted in left_out.items()}
    best = min(names, key=lambda name: errors[name].mape if relative else errors[name].rmse)
    model = KINDS[best](encoded, measured, features.groups, relative, seed)
    residuals = absolute_errors(left_out[best], measured, relative)
    made = AdditivePredictor if best in _ADDITIVE else Predictor
    return made(best, features, model, relative, floors[best], errors[best], residuals)


def absolute_errors(predicted: Floats, measured: Floats, relative: bool) -> Floats:
    """Distances of measured figures from predictions, relative to these if asked to: float64 `(n,)`."""
    distances: Floats = np.abs(measured - predicted)
    return distances / np.abs(predicted) if relative else distances


def _floor(kind: str, measured: Floats, relative: bool) -> float:
    """The least that is predicted; a sum of tables stays one, so it has none."""
    return float(measured.min()) / 2 if relative and kind not in _ADDITIVE else -np.inf


def _suitable(features: Encoder, kind: str, relative: bool) -> list[str]:
    """The regressions to try."""
    suitable = [name for name in features.kinds if relative or name != "roofline"]  # only times have a roofline
    if kind != "auto" and kind not in suitable:
        raise ProfileError(f"no predictor {kind!r} of such figures; choose auto or one of {', '.join(suitable)}")
    return [name for name in suitable if name in AUTO] if kind == "auto" else [kind]


def _cross_validate(
    fit: Fit, encoded: Floats, targets: Floats, features: Encoder, relative: bool, seed: int
) -> Floats:
    """A prediction for each subnet by a model that didn't see it."""
    from sklearn.model_selection import KFold

    predicted = np.empty_like(targets)
    for seen, left_out in KFold(_FOLDS, shuffle=True, random_state=seed).split(encoded):
        model = fit(encoded[seen], targets[seen], features.groups, relative, seed)
        predicted[left_out] = model(encoded[left_out])
    return predicted


def check_count(subnets: int) -> None:
    """Check that so many measured subnets can carry a prediction.

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
        raise ProfileError(f"wanted one figure for each of {len(rows)} subnets, got shape {targets.shape}")
    check_count(len(targets))
    wrong = ~np.isfinite(targets) | (targets <= 0 if relative else False)
    if wrong.any():
        wanted = "numbers above 0" if relative else "finite numbers"
        raise ProfileError(f"measured figures must be {wanted}; that of subnet {wrong.argmax()} is {targets[wrong][0]}")
