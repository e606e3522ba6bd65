"""Predictors of what is measured on subnets, such as accuracy and robust accuracy: of each metric one of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from elastic.errors import ProfileError
from elastic.prediction.features import ArchFeatures
from elastic.prediction.predictor import Predictor, check_count, fit_predictor
from elastic.searching.cache import EvaluateArch, open_measurements
from elastic.space.sampling import corner_rows, distinct_rows, spread_rows
from elastic.supernet.supernet import Supernet
from elastic.support.progress import progress_bar

_DRAWN = 4
"""So many times the subnets asked for are drawn, as small spaces give many of them twice."""


def learn_predictors(
    supernet: Supernet,
    evaluate: EvaluateArch,
    subnets: int = 200,
    kind: str = "auto",
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = False,
) -> dict[str, Predictor]:
    """Measure random subnets, and learn from them what `evaluate` would say of any other.

    What it gives is for `elastic.search(predict=…)`, which then asks of thousands of subnets what it otherwise would
    have to measure. Which regression is best is decided for each metric alone, by cross-validation.

    Args:
        supernet: whose subnets.
        evaluate: measures a subnet (see `MeasuredAccuracy`); metrics are predicted with absolute errors.
        subnets: how many are measured, from the smallest to the largest; 8 or more.
        kind: of the regression, see `fit_predictor`.
        seed: draws the subnets, and what the regression draws.
        cache: a file that keeps what was measured, as `elastic.search` has it; the two may share one.
        progress: show a progress bar.

    Returns:
        A predictor by metric, in that metric's unit; each has its cross-validated `error`, and intervals.

    Raises:
        ProfileError: too few subnets, an unknown kind, or `evaluate` gives one subnet other metrics than another.
        CheckpointError: the cache is another supernet's, broken, or in another search's hands.
    """
    check_count(subnets)  # before any is measured
    drawn = np.concatenate([corner_rows(supernet.space), spread_rows(supernet.space, seed, _DRAWN * subnets)])
    rows = distinct_rows(drawn)[:subnets]
    check_count(len(rows))
    found = []
    with (
        open_measurements(evaluate, supernet, cache) as measure,
        progress_bar("measuring subnets", len(rows), progress) as advance,
    ):
        for arch in supernet.space.decode(rows):
            found.append(measure(arch))
            if found[-1].keys() != found[0].keys():
                raise ProfileError(f"evaluate gave {sorted(found[0])} of one subnet and {sorted(found[-1])} of another")
            advance(1)
    features = ArchFeatures(supernet.space, supernet)
    return {
        name: fit_predictor(features, rows, np.array([metrics[name] for metrics in found]), kind, False, seed)
        for name in found[0]
    }


fit_figures = learn_predictors
"""The former name."""
