"""The regressions behind a predictor: each a function of measured samples that gives a fitted model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elastic.prediction.features import Groups
from elastic.space.space import Floats

Model = Callable[[Floats], Floats]
"""Maps features `(n, f)` to predictions `(n,)`."""


@dataclass(frozen=True)
class Samples:
    """The data that a regression is fitted to; each regression uses what it needs.

    Attributes:
        features: `(n, f)`.
        targets: `(n,)`.
        groups: where the columns of features are.
        relative: whether errors count relative to the target, as of latencies.
        seed: random seed of the regression.
    """

    features: Floats
    targets: Floats
    groups: Groups
    relative: bool = True
    seed: int = 0

    def some(self, at: NDArray[np.intp]) -> Samples:
        """The samples at these indices."""
        return replace(self, features=self.features[at], targets=self.targets[at])

    @property
    def weights(self) -> Floats:
        """Weights of squared errors, 1 on average, that make them relative to the targets if asked to."""
        weights = self.targets**-2.0 if self.relative else np.ones_like(self.targets)
        normalised: Floats = weights / weights.mean()
        return normalised


@dataclass(frozen=True)
class Regression:
    """A kind of predictor.

    Attributes:
        fit: gives the fitted model.
        additive: whether the model is a sum of small tables, which exact search takes apart.
        automatic: whether `"auto"` tries it.
        relative_only: whether it is for relative errors, as of times, alone.
    """

    fit: Callable[[Samples], Model]
    additive: bool = False
    automatic: bool = False
    relative_only: bool = False


_ALPHAS = np.logspace(-4, 4, 17)
_SHARES = (0.03, 0.1, 0.3, 1.0)
"""Scale of the features of single choices, relative to costs."""
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


def fit_ridge(samples: Samples) -> Linear:
    """Ridge regression, robust against outliers; how much is penalised is chosen by leave-one-out.

    Costs explain most, so single choices are penalised more; by how much is chosen likewise.
    """
    features, targets, weights = samples.features, samples.targets, samples.weights
    found = [(_ridge(samples, weights, share), share) for share in _SHARES]
    (_, model), share = max(found, key=lambda one: one[0][0])
    for _ in range(_REWEIGHTINGS):
        trust = huber((model(features) - targets) * np.sqrt(weights))
        model = _ridge(samples, weights * trust, share)[1]
    return model


def _ridge(samples: Samples, weights: Floats, share: float) -> tuple[float, Linear]:
    from sklearn.linear_model import RidgeCV

    features = samples.features
    mean, scale = features.mean(axis=0), _spread(features)
    scale[samples.groups.metrics :] /= share
    ridge = RidgeCV(_ALPHAS).fit((features - mean) / scale, samples.targets, sample_weight=weights)
    slopes = ridge.coef_ / scale
    return float(ridge.best_score_), Linear(slopes, float(ridge.intercept_ - mean @ slopes))


def fit_additive(samples: Samples) -> Linear:
    """Ridge regression on single choices alone: a constant and a value for each choice of each dim."""
    first = samples.groups.metrics
    model = fit_ridge(replace(samples, features=samples.features[:, first:], groups=Groups(0, 0, 0)))
    return Linear(np.concatenate([np.zeros(first), model.weights]), model.constant)


def fit_corrected(samples: Samples) -> Linear:
    """A constant and a factor for each feature, none below 0; outliers count less.

    Of a table's sum and its number of blocks: what a network takes beside its blocks, by how much these are faster or
    slower together than alone, and what comes with each.
    """
    from scipy.optimize import nnls

    features, targets = samples.features, samples.targets
    columns = np.hstack([np.ones((len(features), 1)), features])
    weights = np.sqrt(samples.weights)
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


def fit_gp(samples: Samples) -> Standardised:
    """A Gaussian process: linear plus smooth plus noise, with single choices or without, whichever is likelier."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    features, wide = samples.features, (1e-6, 1e4)
    kernel = ConstantKernel(1.0, wide) * RBF(10.0, (0.3, 1e3)) + ConstantKernel(0.1, wide) * DotProduct(1.0, "fixed")
    kernel += WhiteKernel(0.1, (1e-6, 1e1))
    goal, centre, spread = _goal(samples)
    some = np.random.default_rng(samples.seed).permutation(len(goal))[:_TUNED_ON]
    mean, tuned = features.mean(axis=0), []
    for share in (1e-9, _SHARES[2]):
        scale = _spread(features)
        scale[samples.groups.metrics :] /= share
        process = GaussianProcessRegressor(kernel, alpha=1e-9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a bound that is reached is a good enough answer
            tuned.append((process.fit(((features - mean) / scale)[some], goal[some]), scale))
    process, scale = max(tuned, key=lambda one: one[0].log_marginal_likelihood_value_)
    whole = GaussianProcessRegressor(process.kernel_, alpha=1e-9, optimizer=None)
    return Standardised(mean, scale, (whole.fit((features - mean) / scale, goal),), samples.relative, centre, spread)


def fit_boosting(samples: Samples) -> Standardised:
    """Gradient boosting over small trees."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    leaf = int(np.clip(len(samples.targets) // 20, 2, 20))
    trees = HistGradientBoostingRegressor(
        max_iter=200, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=leaf, random_state=samples.seed
    )
    return _standardised([trees], samples)


def fit_mlp(samples: Samples) -> Standardised:
    """The mean of small multilayer perceptrons; Once-for-All's own predictor has 3 layers of 400 units."""
    from sklearn.neural_network import MLPRegressor

    seeds = range(samples.seed, samples.seed + _MEMBERS)
    members = [
        MLPRegressor(hidden_layer_sizes=(64, 64), solver="lbfgs", alpha=1.0, max_iter=100, random_state=seed)
        for seed in seeds
    ]
    return _standardised(members, samples)


def _standardised(regressors: list[Any], samples: Samples) -> Standardised:
    from sklearn.exceptions import ConvergenceWarning

    features = samples.features
    mean, scale = features.mean(axis=0), _spread(features)
    goal, centre, spread = _goal(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopped early on purpose
        fitted = tuple(one.fit((features - mean) / scale, goal) for one in regressors)
    return Standardised(mean, scale, fitted, samples.relative, centre, spread)


# --- what they share ----------------------------------------------------------------------------------------


def _spread(features: Floats) -> Floats:
    """The features' standard deviations; infinite where one never changes, so that it counts for nothing."""
    scale: Floats = features.std(axis=0)
    scale[scale <= 1e-12 * np.abs(features).max(axis=0)] = np.inf
    return scale


def _goal(samples: Samples) -> tuple[Floats, float, float]:
    """Standardised targets, or their logarithms, with their mean and standard deviation."""
    goal = np.log(samples.targets) if samples.relative else samples.targets
    centre, spread = float(goal.mean()), float(goal.std()) or 1.0
    return (goal - centre) / spread, centre, spread


def huber(errors: Floats) -> Floats:
    """Weights 0 to 1 that make squares of large errors linear (Huber, 1964)."""
    size = np.abs(errors)
    limit = _LINEAR_FROM * max(1.483 * float(np.median(size)), 1e-12)
    weights: Floats = limit / np.maximum(size, limit)
    return weights
