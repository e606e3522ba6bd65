"""What holds for every algorithm, and what each is for; measured metrics are kept and an interrupted search goes on."""

import json
import signal
from itertools import pairwise

import numpy as np
import pytest
from forked import run_program
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from searches import MOBILENET, PREDICTED, SHORT, SPACE, limit, measured, predicted, score
from small import mobilenet

from elastic.errors import BudgetError, CheckpointError
from elastic.searching.algorithms import ALGORITHMS
from elastic.searching.algorithms.linas import Linas, best_fronts
from elastic.searching.algorithms.nsga import reference_directions
from elastic.searching.budget import Budget, CostModel
from elastic.searching.fronts import distinct_front, hypervolume, hypervolume_history, spread_along, undominated
from elastic.searching.problem import Problem
from elastic.searching.result import SearchResult
from elastic.searching.search import search


@pytest.fixture(autouse=True)
def _short_inner_searches(monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "linas", Linas(generations=SHORT))


# --- every algorithm ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_candidates_fit_are_distinct_and_have_their_metrics(algorithm):
    result = predicted(algorithm)
    archs = [one.arch for one in result.candidates]
    assert len(set(archs)) == len(archs) == result.evaluations > 0
    assert algorithm == "dynamic" or result.evaluations <= 60
    assert result.algorithm == algorithm
    rows = SPACE.encode(archs)
    metrics = {"accuracy": PREDICTED(rows), "macs": MOBILENET.macs(archs), "memory_bytes": MOBILENET.memory(archs)}
    for name, wanted in metrics.items():
        assert [one.metrics[name] for one in result.candidates] == pytest.approx(wanted.tolist(), rel=1e-12)
    assert max(one.metrics["macs"] for one in result.candidates) <= limit()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_result_is_a_function_of_the_seed_and_of_nothing_else(algorithm):
    np.random.seed(1)  # noqa: NPY002 - must not matter
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one = predicted(algorithm, seed=3)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert predicted(algorithm, seed=3) == one
    assert algorithm == "dynamic" or predicted(algorithm, seed=4).candidates != one.candidates


@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - {"dynamic"}))
def test_each_subnet_is_measured_once(algorithm):
    seen = []
    result = measured(algorithm, lambda arch: seen.append(arch) or score(arch))
    assert seen == [one.arch for one in result.candidates]
    assert len(set(seen)) == len(seen) == result.evaluations <= 24


@pytest.mark.parametrize(
    ("run", "algorithm", "options"),
    [
        (predicted, "nsga2", {"population": 20, "generations": 20}),
        (predicted, "nsga3", {"population": 20, "generations": 20}),
        (predicted, "evolution", {"population": 20, "generations": 20}),
        (measured, "linas", {"population": 12, "generations": 5}),
    ],
)
def test_better_than_random(run, algorithm, options):
    reference = np.array([-PREDICTED(SPACE.sample_rows(0, 100)).mean(), limit()])
    found, random = (
        [hypervolume(run(name, seed=seed, **options).goals(), reference) for seed in range(3)]
        for name in (algorithm, "random")
    )
    assert np.mean(found) > 1.02 * np.mean(random)


@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - {"dynamic"}))
def test_metrics_that_are_not_numbers_stop_nothing(algorithm):
    result = measured(algorithm, lambda arch: score(arch) if int(arch.id, 16) % 2 else {"accuracy": float("nan")})
    assert np.isfinite(result.best.metrics["accuracy"])


def test_three_objectives_and_more():
    for algorithm in ("nsga2", "nsga3"):
        options = {"minimize": ["macs", "params", "memory_bytes"], "subject_to": None}
        result = predicted(algorithm, population=30, generations=6, **options)
        assert result.goals().shape == (180, 4)
        assert 0 < result.history[-1][1] <= 1


def test_measuring_asks_for_linas_and_predicting_for_nsga2():
    assert measured(None).algorithm == "linas"
    assert predicted(None).algorithm == "nsga2"
    with pytest.raises(BudgetError, match="no algorithm is called 'nsga4'; did you mean nsga2 or nsga3"):
        predicted("nsga4")


def test_thousands_of_evaluations_leave_the_front_and_a_sample():
    result = predicted("evolution", population=500, generations=6)
    budget = Budget(CostModel(MOBILENET, predict={"accuracy": PREDICTED}), {"macs": limit()})
    problem = Problem(budget, ["accuracy"], ["macs"])
    ALGORITHMS["evolution"](problem, 500, 6)
    assert result.evaluations == problem.evaluations == 3000
    assert 500 <= len(result.candidates) <= 2500
    front = distinct_front(problem.goals)
    assert {one.arch for one in result.front} == set(SPACE.decode(problem.rows[front]))


def test_a_search_beyond_what_there_is_ends():
    supernet = mobilenet(choices={"kernel": None, "mid": None, "width": None, "stem": None, "head": None})
    every = {*supernet.space.sample(0, 500)}
    for algorithm in ("evolution", "linas", "nsga2", "random"):
        options = {"algorithm": algorithm, "population": 20, "generations": 20}
        evaluate = None if algorithm != "linas" else lambda arch: {"params": float(supernet.params([arch])[0])}
        result = search(supernet, maximize=["params"], minimize=["macs"], evaluate=evaluate, **options)
        assert {one.arch for one in result.candidates} == every


def test_a_predictor_must_give_a_number_per_arch():
    with pytest.raises(BudgetError, match=r"predict\['accuracy'\] gave shape \(2, 1\) for 2 archs"):
        search(MOBILENET, minimize=["macs"], predict={"accuracy": lambda rows: np.zeros((len(rows), 1))})


# --- fronts -------------------------------------------------------------------------------------------------


points = arrays.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.integers(0, 4))


@given(points)
def test_the_front_is_what_no_other_dominates(goals):
    slow = [not any((other <= one).all() and (other < one).any() for other in goals) for one in goals]
    assert undominated(goals).tolist() == slow
    distinct = goals[distinct_front(goals)]
    assert distinct.tolist() == np.unique(goals[slow], axis=0).tolist()


@given(points, st.integers(1, 10))
def test_fronts_are_chosen_in_order(goals, n):
    chosen = best_fronts(goals, n)
    assert len(chosen) == len(set(chosen)) == min(n, len(goals))
    for one in set(range(len(goals))) - set(chosen):  # nothing left out dominates what was chosen
        assert not any((goals[one] <= goals[at]).all() and (goals[one] < goals[at]).any() for at in chosen)


@given(points, st.integers(1, 8))
def test_the_ends_of_a_front_are_chosen(goals, n):
    chosen = spread_along(goals, n)
    assert len(set(chosen.tolist())) == min(n, len(goals))
    assert goals[chosen[0], -1] == goals[:, -1].min()
    assert n == 1 or goals[chosen[-1], -1] == goals[:, -1].max()


@given(points, st.integers(1, 40))
def test_the_hypervolume_grows_to_that_of_all(goals, count):
    history = hypervolume_history(goals, count)
    evaluations, volumes = zip(*history, strict=True)
    assert list(evaluations) == sorted(set(evaluations))
    assert evaluations[-1] == len(goals)
    assert len(history) <= count
    assert all(0 <= one <= other + 1e-12 <= 1 + 1e-9 for one, other in pairwise(volumes))
    low, high = goals.min(axis=0), goals.max(axis=0)
    scaled = (goals - low) / np.where(high > low, high - low, 1)
    assert volumes[-1] == pytest.approx(hypervolume(scaled, np.ones(goals.shape[1])))


@pytest.mark.parametrize(("objectives", "population"), [(1, 5), (2, 10), (3, 91), (3, 92), (4, 50), (5, 2)])
def test_reference_directions_fill_the_population(objectives, population):
    found = len(reference_directions(objectives, population))
    assert found <= max(population, objectives)
    finer = len(reference_directions(objectives, found + 1)) if objectives > 1 else 1
    assert finer == found or finer > population


# --- a search that was cut short ----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - {"dynamic"}))
@pytest.mark.parametrize("after", [0, 3, 13])
def test_an_interrupted_search_continues_where_it_stopped(tmp_path, algorithm, after):
    whole = measured(algorithm)
    seen = []

    def breaks(arch):
        if len(seen) == after:
            raise KeyboardInterrupt
        seen.append(arch)
        return score(arch)

    def goes_on(arch):
        seen.append(arch)
        return score(arch)

    with pytest.raises(KeyboardInterrupt):
        measured(algorithm, breaks, cache=tmp_path / "cache.jsonl")
    assert measured(algorithm, goes_on, cache=tmp_path / "cache.jsonl") == whole
    assert len(seen) == len(set(seen)) == whole.evaluations
    assert measured(algorithm, cache=tmp_path / "cache.jsonl") == whole


KILLED = """
import os, signal, sys
from elastic.searching.algorithms import ALGORITHMS
from elastic.searching.algorithms.linas import Linas
from searches import SHORT, measured, score

ALGORITHMS["linas"] = Linas(generations=SHORT)
seen = []
def killed(arch):
    seen.append(arch)
    if len(seen) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return score(arch)
measured(evaluate=killed, cache=sys.argv[1])
"""


def test_a_killed_search_continues_where_it_stopped(tmp_path):
    cache = tmp_path / "cache.jsonl"
    run_program(KILLED, str(cache), ends=-signal.SIGKILL)
    kept = len(cache.read_bytes().splitlines()) - 1
    assert kept == 5
    calls = []
    result = measured(evaluate=lambda arch: calls.append(arch) or score(arch), cache=cache)
    assert result == measured()
    assert len(calls) == result.evaluations - kept


def test_a_line_that_was_cut_short_is_measured_again(tmp_path):
    cache = tmp_path / "cache.jsonl"
    whole = measured(cache=cache)
    content = cache.read_bytes()
    for kept in (len(content) - 5, content.index(b"\n") - 3, 0):
        cache.write_bytes(content[:kept])
        calls = []
        assert measured(evaluate=lambda arch: calls.append(arch) or score(arch), cache=cache) == whole  # noqa: B023
        assert len(calls) == (1 if kept == len(content) - 5 else whole.evaluations)
        assert cache.read_bytes() == content


def test_another_supernets_cache_is_refused(tmp_path):
    cache = tmp_path / "cache.jsonl"
    measured(cache=cache, generations=1)
    other = mobilenet()
    next(other.parameters()).data.add_(1.0)
    options = {"minimize": ["macs"], "evaluate": score, "cache": cache}
    with pytest.raises(CheckpointError, match=r"holds a search's cache with another weights: .* name another file"):
        search(other, **options)
    with pytest.raises(CheckpointError, match="holds a search's cache with another supernet"):
        search(mobilenet(choices={"kernel": None}), **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: ["[1]", *lines[1:]], "line 1 is a list, no JSON object"),
        (lambda lines: ["{}", *lines[1:]], "isn't a search's cache: its kind is None"),
        (lambda lines: ["hello", *lines[1:]], "line 1 isn't JSON"),
        (lambda lines: [*lines[:2], lines[2][:20], *lines[3:]], "line 3 isn't JSON"),
        (lambda lines: [*lines[:2], '{"arch": {"depth": 1}, "metrics": {}}'], "line 3, is no measured subnet"),
        (lambda lines: [*lines[:2], '{"arch": 1}'], "line 3, is no measured subnet"),
    ],
)
def test_a_broken_cache_is_refused_and_left_alone(tmp_path, change, message):
    cache = tmp_path / "cache.jsonl"
    measured(cache=cache, generations=1)
    broken = "".join(line + "\n" for line in change(cache.read_text().splitlines()))
    cache.write_text(broken)
    with pytest.raises(CheckpointError, match=message):
        measured(cache=cache)
    assert cache.read_text() == broken
    cache.write_text("notes of mine")
    with pytest.raises(CheckpointError, match="isn't a search's cache: it has no whole line"):
        measured(cache=cache)
    assert cache.read_text() == "notes of mine"


# --- files --------------------------------------------------------------------------------------------------


def test_a_result_survives_its_file_and_older_files_are_read(tmp_path):
    result = predicted("nsga2")
    path = result.save(tmp_path / "search.json")
    assert SearchResult.load(path) == result
    values = json.loads(path.read_text())
    for name in ("algorithm", "evaluations", "history"):
        del values[name]
    path.write_text(json.dumps(values))
    older = SearchResult.load(path)
    assert older.candidates == result.candidates
    assert (older.algorithm, older.evaluations, older.history) == ("evolution", 60, ())
