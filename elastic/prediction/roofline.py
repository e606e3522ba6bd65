"""The roofline regression: a network takes as long as starting its operators, or as computing them.

A GPU computes while the processor is starting the next operators. So a small network takes what starting takes,
whatever its resolution, and a large one what computing takes. After the roofline model: Williams, Waterman and
Patterson, "Roofline: An Insightful Visual Performance Model for Multicore Architectures", CACM 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from elastic.prediction.features import Groups
from elastic.prediction.regression import Samples, huber
from elastic.space.space import Floats

_SHARPNESS = (8.0, 16.0, 32.0)
"""Of the edge where the two times meet; a rounder one first, for beyond a sharp one nothing pulls."""
_PENALTY = 0.01
_TINY = 1e-9


@dataclass(frozen=True)
class Roofline:
    """The longer one of two times, each linear in features, rounded off where they meet.

    Attributes:
        launch: a constant, and the time to start a block of each container.
        compute: a constant, the time of a block, and that of a multiply-accumulate of each kind.
        groups: where the columns of features are.
    """

    launch: Floats
    compute: Floats
    groups: Groups

    def __call__(self, features: Floats) -> Floats:
        """Predictions `(n,)`."""
        launch, compute = _columns(features, self.groups)
        return _longer(launch @ self.launch, compute @ self.compute, _SHARPNESS[-1])


def fit_roofline(samples: Samples) -> Roofline:
    """Two times by number of blocks and by MACs, no coefficient below 0; outliers count less."""
    launch, compute = _columns(samples.features, samples.groups)
    scales = _scale(launch), _scale(compute)
    middle = float(np.median(samples.targets))
    problem = _Problem(launch / scales[0], compute / scales[1], samples.targets / middle)
    found = problem.solve() * middle
    split = launch.shape[1]
    return Roofline(found[:split] / scales[0], found[split:] / scales[1], samples.groups)


class _Problem:
    """Least squares of logarithms, with a little pull of every coefficient to 0."""

    def __init__(self, launch: Floats, compute: Floats, targets: Floats) -> None:
        self.launch, self.compute, self.targets = launch, compute, targets
        self.split = launch.shape[1]
        self.trust = np.ones(len(targets))
        self.sharpness = _SHARPNESS[0]

    def solve(self) -> Floats:
        from scipy.optimize import least_squares

        found = np.concatenate([np.full(one.shape[1], 1 / one.shape[1]) for one in (self.launch, self.compute)])
        for self.sharpness in _SHARPNESS:
            start = np.maximum(found, 1e-6)
            found = least_squares(self.errors, start, self.slopes, bounds=(0, np.inf), max_nfev=100).x
            self.trust = np.sqrt(huber(np.log(self.times(found)[2] / self.targets)))
        solved: Floats = found
        return solved

    def times(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        launch, compute = self.launch @ x[: self.split] + _TINY, self.compute @ x[self.split :] + _TINY
        return launch, compute, _longer(launch, compute, self.sharpness)

    def errors(self, x: Floats) -> Floats:
        return np.concatenate([self.trust * np.log(self.times(x)[2] / self.targets), _PENALTY * x])

    def slopes(self, x: Floats) -> Floats:
        launch, compute, longer = self.times(x)
        slopes = np.hstack(
            [
                self.launch * ((launch / longer) ** self.sharpness / launch)[:, None],
                self.compute * ((compute / longer) ** self.sharpness / compute)[:, None],
            ]
        )
        return np.concatenate([self.trust[:, None] * slopes, _PENALTY * np.eye(len(x))])


def _columns(features: Floats, groups: Groups) -> tuple[Floats, Floats]:
    """Design matrices of the two times: constant and blocks; constant, blocks and MACs."""
    ones = np.ones((len(features), 1))
    work = groups.blocks + groups.macs
    return np.hstack([ones, features[:, : groups.blocks]]), np.hstack([ones, features[:, :work]])


def _scale(columns: Floats) -> Floats:
    mean: Floats = columns.mean(axis=0)
    return np.where(mean > 0, mean, 1.0)


def _longer(one: Floats, other: Floats, sharpness: float) -> Floats:
    most, least = np.maximum(one, other), np.minimum(one, other)
    longer: Floats = most * (1 + (least / most) ** sharpness) ** (1 / sharpness)
    return longer
