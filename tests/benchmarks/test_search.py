"""`make bench`: how fast a search is, and how good, on MobileNetV3-Large with made-up additive figures.

Accuracy is a sum over choices that grows with every size, by less and less; latency is a sum of tables, MACs'.
The exact front is known (dynamic), so hypervolumes are shown relative to its own.
"""

import numpy as np
import pytest
import timm
import torch

import elastic
from elastic.searching.algorithms import ALGORITHMS
from elastic.searching.budget import Budget, CostModel
from elastic.searching.fronts import hypervolume, undominated
from elastic.searching.problem import Problem
from elastic.space.tables import choice_sum

SEEDS = range(5)


class Setting:
    def __init__(self):
        torch.manual_seed(0)
        self.supernet = elastic.elasticize(timm.create_model("mobilenetv3_large_100"))
        space, rng = self.supernet.space, np.random.default_rng(0)
        gains = [rng.gamma(1.0, 1.0, count - 1) * 0.6 ** np.arange(count - 1) for count in space.counts]
        accuracy = choice_sum(space, tuple(np.cumsum([0.0, *gain]) for gain in gains), 60.0)
        latency = self.supernet.costs.macs
        self.predict = {"accuracy": accuracy, "latency_ms": latency}
        smallest, median = latency(space.encode([space.smallest])), np.median(latency(space.sample_rows(0, 2000)))
        self.limits = np.linspace(float(smallest[0]), float(median), 11)[1:]
        self.reference = np.array([-accuracy(space.encode([space.smallest]))[0], self.limits[-1]])

    def search(self, **options):
        subject_to = {"latency_ms": float(self.limits[-1])}
        return elastic.search(self.supernet, predict=self.predict, subject_to=subject_to, **options)

    def evaluated(self, algorithm, population, generations, seed, minimize=("latency_ms",), limit=None):
        """Accuracies and latencies of all that was evaluated, negated and as they are: `(n, 2)`."""
        budget = Budget(CostModel(self.supernet, predict=self.predict), {"latency_ms": float(limit or self.limits[-1])})
        problem = Problem(budget, ["accuracy"], minimize, seed=(seed,), most=population * generations)
        ALGORITHMS[algorithm](problem, population, generations)
        figures = budget.costs(problem.rows, self.predict)
        return np.stack([-figures["accuracy"], figures["latency_ms"]], axis=1)

    def volume(self, goals):
        return hypervolume(goals[undominated(goals)], self.reference)


@pytest.fixture(scope="module")
def setting():
    return Setting()


@pytest.mark.parametrize(
    ("algorithm", "population", "generations", "target"),
    [
        ("evolution", 1000, 50, "≤ 0.5"),
        ("evolution", 100, 500, "–"),
        ("random", 1000, 50, "–"),
        ("nsga2", 50, 100, "–"),
        ("nsga3", 50, 100, "–"),
        ("dynamic", 1, 1, "–"),
    ],
)
def test_a_search_on_predictions(setting, algorithm, population, generations, target, side_by_side, figure):
    options = {"algorithm": algorithm, "population": population, "generations": generations}
    (times,) = side_by_side(5, lambda: setting.search(**options))
    what = f"{population * generations:,} look-ups in generations of {population}"
    figure(f"{algorithm}, {'exact front' if algorithm == 'dynamic' else what}", times, "s", target)


def test_a_million_look_ups(setting, side_by_side, figure):
    rows = setting.supernet.space.sample_rows(0, 1_000_000)
    (times,) = side_by_side(3, lambda: setting.predict["latency_ms"](rows))
    figure("a million latencies from tables", times, "s", "≤ 1")


def test_hypervolume(setting, figure):
    """Once-for-All's evolution has one objective and one budget; here it also gets ten budgets, and both objectives."""
    exact = setting.volume(setting.evaluated("dynamic", 1, 1, 0))
    nsga2, both, one, ten = [], [], [], []
    for seed in SEEDS:
        nsga2.append(setting.volume(setting.evaluated("nsga2", 50, 100, seed)) / exact)
        both.append(setting.volume(setting.evaluated("evolution", 100, 500, seed)) / exact)
        one.append(setting.volume(setting.evaluated("evolution", 100, 500, seed, ())) / exact)
        runs = [setting.evaluated("evolution", 100, 50, seed, (), limit) for limit in setting.limits]
        ten.append(setting.volume(np.concatenate(runs)) / exact)
    figure("hypervolume / exact: NSGA-II, 5,000 evaluations", nsga2, "×", "≥ OFA's")
    figure("OFA's evolution, 50,000 evaluations, one budget", one, "×", "–")
    figure("OFA's evolution, 10 budgets of 5,000 evaluations", ten, "×", "–")
    figure("evolution with both objectives, 50,000 evaluations", both, "×", "–")
