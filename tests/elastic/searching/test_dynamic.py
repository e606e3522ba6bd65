"""Exact search against trying every subnet: on drawn tables and gates, and on real supernets."""

import itertools

import numpy as np
import pytest
from devices import synthetic
from hypothesis import given
from hypothesis import strategies as st
from small import mobilenet, vit

from elastic.errors import BudgetError
from elastic.prediction.features import ArchFeatures
from elastic.prediction.predictor import fit_predictor
from elastic.searching.algorithms.dynamic import additive_tables, dynamic
from elastic.searching.budget import Budget, CostModel
from elastic.searching.fronts import undominated
from elastic.searching.problem import Problem
from elastic.searching.search import search
from elastic.space.dims import Dim, Gate
from elastic.space.space import SearchSpace
from elastic.space.tables import Table, choice_sum, grid_rows, tables_of

MOBILENET = mobilenet(choices={"kernel": None, "mid.2.*": None, "width.2": None})


class Drawn:
    """A sum of drawn tables, each over a few columns; looked up one row at a time."""

    def __init__(self, space, seed, integers):
        rng = np.random.default_rng(seed)
        self.tables = []
        for _ in range(int(rng.integers(1, 7))):
            size = int(rng.integers(0, min(4, len(space.dims)) + 1))
            columns = tuple(rng.choice(len(space.dims), size, replace=False).tolist())
            shape = [len(space.dims[column].choices) for column in columns]
            values = rng.integers(0, 6, shape) if integers else rng.normal(size=shape) + 1.0
            self.tables.append(Table(columns, np.asarray(values)))

    def __call__(self, rows):
        return np.array([sum(float(t.values[tuple(row[list(t.columns)])]) for t in self.tables) for row in rows])


class MadeUp:
    """A supernet as far as `Problem` and `CostModel` need one."""

    def __init__(self, space):
        self.space = space


@st.composite
def spaces(draw):
    dims = [Dim("embed", (8, 16)), Dim("resolution", (16, 32), counted=False)]
    for stage in range(2):
        full = draw(st.integers(2, 3))
        dims.append(Dim(f"depth.{stage}", tuple(range(1, full + 1))))
        for block in range(full):
            gate = Gate(f"depth.{stage}", block, full)
            dims.append(Dim(f"mid.{stage}.{block}", (4, 6)[: draw(st.integers(1, 2))], frozenset({(gate,)})))
    outer = Gate("depth.0", 1, 3)
    dims.append(Dim("inner", (1, 2), frozenset({(outer,)})))
    dims.append(Dim("deep", (1, 3), frozenset({(outer, Gate("inner", 1, 2))})))
    dims.append(Dim("shared", (1, 2), frozenset({(outer,), (Gate("depth.1", 1, 3),)})))
    return SearchSpace(tuple(dims))


def every_row(space):
    return np.unique(space.canonical(grid_rows(space, range(len(space.dims)))), axis=0)


def goal_set(goals):
    return np.unique(np.round(goals, 9), axis=0).tolist()


@given(
    space=spaces(),
    seed=st.integers(0, 2**31),
    integers=st.booleans(),
    share=st.floats(0.0, 1.0),
    objectives=st.sampled_from([(("a",), ()), (("a",), ("b",)), ((), ("b",)), (("a",), ("b", "c"))]),
    limited=st.sampled_from([(), ("b",), ("c",), ("b", "c")]),
)
def test_finds_what_trying_every_subnet_finds(space, seed, integers, share, objectives, limited):
    predict = {name: Drawn(space, [seed, at], integers) for at, name in enumerate("abc")}
    rows = every_row(space)
    costs = CostModel(MadeUp(space), predict=predict)
    metrics = costs(rows, "abc")
    limits = {}
    for name in limited:
        metric = np.sort(metrics[name])
        if metric[int(share * (len(metric) - 1))] > 0:
            limits[name] = float(metric[int(share * (len(metric) - 1))])
    fits = Budget(costs, limits).fits(rows)
    try:
        problem = Problem(Budget(costs, limits), *objectives)
    except BudgetError:  # excluded by each other
        return
    dynamic(problem, 1, 1)
    goals = np.stack([-metrics[name] for name in objectives[0]] + [metrics[name] for name in objectives[1]], axis=1)
    wanted = goals[fits][undominated(goals[fits])]
    assert problem.budget.fits(problem.rows).all()
    assert goal_set(problem.goals) == goal_set(wanted)
    assert (space.canonical(problem.rows) == problem.rows).all()
    assert len(problem.goals) == len(goal_set(wanted))


@pytest.mark.parametrize("supernet", [MOBILENET, vit(choices={"hidden": None})], ids=["mobilenet", "vit"])
def test_finds_the_front_of_a_real_supernet(supernet):
    space = supernet.space
    rows = every_row(space)
    predict = choice_sum(space, tuple(np.random.default_rng(0).normal(size=count) for count in space.counts), 70.0)
    limit = float(np.median(supernet.params(rows)))
    options = {"predict": {"accuracy": predict}, "subject_to": {"params": limit}, "algorithm": "dynamic"}
    result = search(supernet, minimize=["macs"], **options)
    fits = supernet.params(rows) <= limit
    goals = np.stack([-predict(rows), supernet.macs(rows)], axis=1)[fits]
    found = [[-one.metrics["accuracy"], one.metrics["macs"]] for one in result.candidates]
    assert goal_set(found) == goal_set(goals[undominated(goals)])
    best = search(supernet, minimize=[], **options)
    assert best.evaluations == 1
    assert best.best.metrics["accuracy"] == pytest.approx(predict(rows[fits]).max())


def test_no_algorithm_beats_it():
    space = MOBILENET.space
    predict = choice_sum(space, tuple(np.random.default_rng(1).normal(size=count) for count in space.counts))
    limit = float(np.median(MOBILENET.macs(space.sample(0, 100))))
    options = {"minimize": [], "predict": {"accuracy": predict}, "subject_to": {"macs": limit}}
    exact = search(MOBILENET, algorithm="dynamic", **options).best.metrics["accuracy"]
    for algorithm in ("evolution", "nsga2", "random"):
        found = search(MOBILENET, algorithm=algorithm, population=30, generations=20, **options)
        assert found.best.metrics["accuracy"] <= exact + 1e-9


def test_a_sum_over_choices_is_its_tables_and_a_fit_finds_it():
    space = MOBILENET.space
    rng = np.random.default_rng(0)
    values = [rng.normal(size=count) for count in space.counts]
    truth = choice_sum(space, values, 3.0)
    rows = space.sample_rows(0, 400)
    slow = [sum(float(t.values[tuple(row[list(t.columns)])]) for t in truth.tables) for row in rows]
    by_dim = [
        3.0 + sum(values[space.names.index(name)][space[name].choices.index(v)] for name, v in arch.items())
        for arch in space.decode(rows)
    ]
    assert np.allclose(truth(rows), slow)
    assert np.allclose(truth(rows), by_dim)
    fitted = fit_predictor(ArchFeatures(space), rows[:300], truth(rows[:300]), "additive", relative=False)
    assert np.abs(fitted(rows[300:]) - truth(rows[300:])).max() < 0.05


@pytest.mark.parametrize("name", ["macs", "params"])
def test_exact_costs_are_their_tables(name):
    rows = MOBILENET.space.sample_rows(0, 50)
    costs = CostModel(MOBILENET)
    tables = additive_tables(costs, name)
    slow = [sum(int(t.values[tuple(row[list(t.columns)])]) for t in tables) for row in rows]
    assert costs(rows, [name])[name].tolist() == slow


def test_what_is_no_sum_is_refused():
    with pytest.raises(BudgetError, match=r"memory_bytes isn't one, macs, params are"):
        search(MOBILENET, maximize=["params"], minimize=["memory_bytes"], algorithm="dynamic")
    predict = {"accuracy": lambda rows: np.zeros(len(rows))}
    with pytest.raises(BudgetError, match=r"accuracy isn't one"):
        search(MOBILENET, minimize=["macs"], predict=predict, algorithm="dynamic")
    with pytest.raises(BudgetError, match=r"can't evaluate subnets: accuracy must be"):
        search(MOBILENET, minimize=["macs"], evaluate=lambda arch: {"accuracy": 1.0}, algorithm="dynamic")


def test_a_profile_takes_part_where_its_prediction_is_additive():
    profile = synthetic(MOBILENET, 60)
    options = {"maximize": ["params"], "algorithm": "dynamic"}
    latency = profile.predictor(MOBILENET, "additive")
    result = search(MOBILENET, predict={"latency_ms": latency}, **options)
    rows = every_row(MOBILENET.space)
    goals = np.stack([-MOBILENET.params(rows), latency(rows)], axis=1)
    assert goal_set(result.goals()) == goal_set(goals[undominated(goals)])
    if tables_of(profile.predictor(MOBILENET)) is None:
        with pytest.raises(BudgetError, match=r'latency_ms isn.t one.*profile.predictor\(supernet, "additive"\)'):
            search(MOBILENET, profile=profile, **options)


def test_too_many_partial_sums_are_refused(monkeypatch):
    monkeypatch.setattr("elastic.searching.elimination.MOST_SUMS", 10)
    with pytest.raises(BudgetError, match=r"partial sums at once, 10 at most.* Choose the algorithm nsga2"):
        search(MOBILENET, maximize=["params"], minimize=["macs"], algorithm="dynamic")


def test_equal_rows_of_a_grid_are_each_there_once():
    space = SearchSpace((Dim("a", (1, 2)), Dim("b", (1, 2, 3))))
    assert grid_rows(space, [0, 1]).tolist() == [list(pair) for pair in itertools.product(range(2), range(3))]
    assert grid_rows(space, []).tolist() == [[0, 0]]
