"""The regressions behind a predictor: each a function of features and targets that gives a fitted model.

All take `(features, targets, groups, relative, seed)`, where `relative` says that errors count relative to the
target, as of latencies, and give what maps features `(n, f)` to predictions `(n,)`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from elastic.prediction.features import Groups
from elastic.space.space import Floats

Model = Callable[[Floats], Floats]
Fit = Callable[[Floats, Floats, Groups, bool, int], Model]

_ALPHAS = np.logspace(-4, 4, 17)
_SHARES = (0.03, 0.1, 0.3, 1.0)
"""How large single choices may loom beside costs."""
_REWEIGHTINGS = 3
_LINEAR_FROM = 1.345
"""Errors above so many standard deviations count linearly."""
_TUNED_ON = 200
"""A Gaussian process chooses its hyperparameters on so many points: the time grows with their cube."""
_MEMBERS = 3
_CHUNK = 4096


@dataclass(frozen=True)
class Linear:
    """A weighted sum of features."""

    weights: Floats
    constant: float

    def __call__(self, features: Floats) -> Floats:
        """Predictions `(n,)`."""
        predicted: Floats = features @ self.weights + self.constant
        return predicted


def fit_ridge(features: Floats, targets: Floats, groups: Groups, relative: bool, seed: int) -> Linear:
    """Ridge regression, robust against outliers; how much is penalised is chosen by leave-one-out.

    Costs explain most, so single choices are penalised more; by how much is chosen likewise.
    """
    weights = importance(targets, relative)
    found = [(_ridge(features, targets, groups, weights, share), share) for share in _SHARES]
    (_, model), share = max(found, key=lambda one: one[0][0])
    for _ in range(_REWEIGHTINGS):
        trust = huber((model(features) - targets) * np.sqrt(weights))
        model = _ridge(features, targets, groups, weights * trust, share)[1]
    return model


def _ridge(features: Floats, targets: Floats, groups: Groups, weights: Floats, share: float) -> tuple[float, Linear]:
    from sklearn.linear_model import RidgeCV

    mean, scale = features.mean(axis=0), _spread(features)
    scale[groups.figures :] /= share
    ridge = RidgeCV(_ALPHAS).fit((features - mean) / scale, targets, sample_weight=weights)
    slopes = ridge.coef_ / scale
    return float(ridge.best_score_), Linear(slopes, float(ridge.intercept_ - mean @ slopes))


def fit_additive(features: Floats, targets: Floats, groups: Groups, relative: bool, seed: int) -> Linear:
    """Ridge regression on single choices alone: a constant and a figure for each choice of each dim."""
    alone = Groups(0, 0, 0)
    model = fit_ridge(features[:, groups.figures :], targets, alone, relative, seed)
    return Linear(np.concatenate([np.zeros(groups.figures), model.weights]), model.constant)


def fit_corrected(features: Floats, targets: Floats, groups: Groups, relative: bool, seed: int) -> Linear:
    """A constant and a factor for each feature, none below 0; outliers count less.

    Of a table's sum and its number of parts: what a network takes beside its parts, by how much these are faster or
    slower together than alone, and what comes with each.
    """
    from scipy.optimize import nnls

    columns = np.hstack([np.ones((len(features), 1)), features])
    weights = np.sqrt(importance(targets, relative))
    trust = np.ones_like(targets)
    for _ in range(_REWEIGHTINGS):
        rows = weights * np.sqrt(trust)
        found = nnls(columns * rows[:, None], targets * rows)[0]
        trust = huber((columns @ found - targets) * weights)
    return Linear(found[1:], float(found[0]))


@dataclass(frozen=True)
class Standardised:
    """Scikit-learn regressors on standardised features and targets; on their logarithms where errors are relative."""

    mean: Floats
    scale: Floats
    regressors: tuple[Any, ...]
    relative: bool
    centre: float
    spread: float

    def __call__(self, features: Floats) -> Floats:
        """Predictions `(n,)`, the mean of all regressors'."""
        predicted = np.empty(len(features))
        for start in range(0, len(features), _CHUNK):  # a Gaussian process compares each row with all it has seen
            scaled = (features[start : start + _CHUNK] - self.mean) / self.scale
            predicted[start : start + _CHUNK] = np.mean([one.predict(scaled) for one in self.regressors], axis=0)
        predicted = predicted * self.spread + self.centre
        return np.exp(predicted) if self.relative else predicted


def fit_gp(features: Floats, targets: Floats, groups: Groups, relative: bool, seed: int) -> Standardised:
    """A Gaussian process: linear plus smooth plus noise, with single choices or without, whichever is likelier."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    wide = (1e-6, 1e4)
    kernel = ConstantKernel(1.0, wide) * RBF(10.0, (0.3, 1e3)) + ConstantKernel(0.1, wide) * DotProduct(1.0, "fixed")
    kernel += WhiteKernel(0.1, (1e-6, 1e1))
    goal, centre, spread = _goal(targets, relative)
    some = np.random.default_rng(seed).permutation(len(goal))[:_TUNED_ON]
    mean, tuned = features.mean(axis=0), []
    for share in (1e-9, _SHARES[2]):
        scale = _spread(features)
        scale[groups.figures :] /= share
        process = GaussianProcessRegressor(kernel, alpha=1e-9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a bound that is reached is a good enough answer
            tuned.append((process.fit(((features - mean) / scale)[some], goal[some]), scale))
    process, scale = max(tuned, key=lambda one: one[0].log_marginal_likelihood_value_)
    whole = GaussianProcessRegressor(process.kernel_, alpha=1e-9, optimizer=None)
    return Standardised(mean, scale, (whole.fit((features - mean) / scale, goal),), relative, centre, spread)


def fit_boosting(features: Floats, targets: Floats, groups: Groups, relative: bool, seed: int) -> Standardised:
    """Gradient boosting over small trees."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    leaf = int(np.clip(len(targets) // 20, 2, 20))
    trees = HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=leaf, random_state=seed
    )
    return _standardised([trees], features, targets, relative)


def fit_mlp(features: Floats, targets: Floats, groups: Groups, relative: bool, seed: int) -> Standardised:
    """The mean of small multilayer perceptrons; Once-for-All's own predictor has 3 layers of 400 units."""
    from sklearn.neural_network import MLPRegressor

    members = [
        MLPRegressor(hidden_layer_sizes=(64, 64), solver="lbfgs", alpha=1.0, max_iter=100, random_state=seed + at)
        for at in range(_MEMBERS)
    ]
    return _standardised(members, features, targets, relative)


def _standardised(regressors: list[Any], features: Floats, targets: Floats, relative: bool) -> Standardised:
    from sklearn.exceptions import ConvergenceWarning

    mean, scale = features.mean(axis=0), _spread(features)
    goal, centre, spread = _goal(targets, relative)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopped early on purpose
        fitted = tuple(one.fit((features - mean) / scale, goal) for one in regressors)
    return Standardised(mean, scale, fitted, relative, centre, spread)


# --- what they share ----------------------------------------------------------------------------------------


def _spread(features: Floats) -> Floats:
    """The features' standard deviations; infinite where one never changes, so that it counts for nothing."""
    scale: Floats = features.std(axis=0)
    scale[scale <= 1e-12 * np.abs(features).max(axis=0)] = np.inf
    return scale


def _goal(targets: Floats, relative: bool) -> tuple[Floats, float, float]:
    """Standardised targets, or their logarithms, with their mean and standard deviation."""
    goal = np.log(targets) if relative else targets
    centre, spread = float(goal.mean()), float(goal.std()) or 1.0
    return (goal - centre) / spread, centre, spread


def importance(targets: Floats, relative: bool) -> Floats:
    """Weights of squared errors, 1 on average, that make them relative to the targets if asked to."""
    weights = targets**-2.0 if relative else np.ones_like(targets)
    normalised: Floats = weights / weights.mean()
    return normalised


def huber(errors: Floats) -> Floats:
    """Weights 0 to 1 that make squares of large errors linear (Huber, 1964)."""
    size = np.abs(errors)
    limit = _LINEAR_FROM * max(1.483 * float(np.median(size)), 1e-12)
    weights: Floats = limit / np.maximum(size, limit)
    return weights
