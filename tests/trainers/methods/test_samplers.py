"""Samplers: pure functions that stay in the phase's space, and spread over it as they say."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import FAMILIES, made_once
from spaces import spaces

from elastic import Arch, SearchSpace
from elastic.errors import TrainingError
from elastic.space.dims import Dim
from trainers.methods.macs_samplers import BalancedSampler, ComplexityWalkSampler, ParetoSampler, nearest, walked
from trainers.methods.samplers import (
    Contest,
    NestedSampler,
    RoundRobinSampler,
    SamplingContext,
    SandwichSampler,
    StrictlyFairSampler,
    UniformSampler,
)

SAMPLERS = [
    UniformSampler(3),
    SandwichSampler(),
    StrictlyFairSampler(3),
    BalancedSampler(3),
    BalancedSampler(2, with_largest=False, with_smallest=False),
    ComplexityWalkSampler(),
    ComplexityWalkSampler(n=1, banks=3, with_largest=False),
    ParetoSampler(),
    NestedSampler(3),
]

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
every_family = pytest.mark.parametrize("family", FAMILIES)


def moment(family, step, seed=0, narrowed=None):
    supernet = made_once(family)
    space = supernet.space if narrowed is None else supernet.space.narrow(narrowed)
    return SamplingContext(space, lambda rows: supernet.macs(supernet.space.widened(rows, space)), seed, step)


def draw(sampler, family, steps, **at):
    return {
        (step, k): sampler.sample(moment(family, step, **at), k)
        for step in steps
        for k in range(sampler.subnets_per_step)
    }


def archs(drawn):
    return [arch for one in drawn.values() for arch in (one.archs if isinstance(one, Contest) else [one])]


def sizes(family, drawn):
    """Where MACs are between those of the smallest, 0, and those of the largest, 1."""
    space = made_once(family).space
    low, high = made_once(family).macs([space.smallest, space.largest])
    return (made_once(family).macs(drawn) - low) / (high - low)


# --- all of them --------------------------------------------------------------------------------------------


@every_family
@every_sampler
def test_sampling_is_a_pure_function(sampler, family):
    forwards = draw(sampler, family, range(5), seed=3)
    states = random.getstate(), torch.get_rng_state().tolist()
    backwards = draw(sampler, family, reversed(range(5)), seed=3)
    assert backwards == forwards
    assert states == (random.getstate(), torch.get_rng_state().tolist())
    if not isinstance(sampler, NestedSampler):
        assert draw(sampler, family, range(5), seed=4) != forwards
        assert draw(sampler, family, range(5, 10), seed=3) != {(n + 5, k): drawn for (n, k), drawn in forwards.items()}


ELSEWHERE = """
from elastic import SearchSpace
from elastic.space.dims import Dim, Gate
from trainers.methods.macs_samplers import BalancedSampler, ComplexityWalkSampler, ParetoSampler
from trainers.methods.samplers import NestedSampler, SamplingContext, SandwichSampler
from trainers.methods.samplers import StrictlyFairSampler, UniformSampler

deep = [frozenset({(Gate("depth", n, 4),), (Gate("inner", 1, 2), Gate("depth", 0, 4))}) for n in range(4)]
dims = [Dim("depth", (2, 3, 4)), Dim("inner", (1, 2)), *(Dim(f"mid.{n}", (4, 6, 8), use) for n, use in enumerate(deep))]
space = SearchSpace(tuple(dims))
macs = lambda rows: space.canonical(rows).sum(1, dtype="int64")
samplers = [UniformSampler(3), SandwichSampler(), StrictlyFairSampler(3), BalancedSampler(), ParetoSampler(),
            NestedSampler(3), ComplexityWalkSampler()]
drawn = repr([
    sampler.sample(SamplingContext(space, macs, 7, step), k)
    for sampler in samplers for step in (0, 1, 100_000) for k in range(sampler.subnets_per_step)
])
"""


def test_other_processes_draw_the_same():
    here = {}
    exec(ELSEWHERE, here)
    command = [sys.executable, "-c", ELSEWHERE + "print(drawn)"]
    environment = {**os.environ, "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"}
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert there.strip() == here["drawn"]


@every_family
@every_sampler
def test_samples_are_in_the_narrowed_space(sampler, family):
    space = made_once(family).space
    narrowed = {"resolution": space["resolution"].choices[0], "depth*": [2] if family == "vit" else [1, 2]}
    drawn = archs(draw(sampler, family, range(6), narrowed=narrowed))
    assert all(arch in space and arch in space.narrow(narrowed) for arch in drawn)
    assert {arch["resolution"] for arch in drawn} == {space["resolution"].choices[0]}
    assert all(isinstance(arch, Arch) for arch in drawn)


@every_family
@every_sampler
def test_a_single_subnet_is_all_there_is(sampler, family):
    if isinstance(sampler, StrictlyFairSampler):
        sampler = StrictlyFairSampler(1)
    space = made_once(family).space
    drawn = archs(draw(sampler, family, range(3), narrowed={dim.name: dim.full for dim in space.dims}))
    assert set(drawn) == {space.largest}


@given(spaces(), st.integers(0, 2**40), st.integers(0, 2**20))
def test_samples_are_canonical(space, step, seed):
    def macs(rows):
        return space.canonical(rows).sum(1, dtype=np.int64)

    at = SamplingContext(space, macs, seed, min(step, 2**16))
    fair = StrictlyFairSampler(max(len(dim.choices) for dim in space.dims))
    for sampler in (UniformSampler(), fair, BalancedSampler(1), ParetoSampler(1), ComplexityWalkSampler(1)):
        assert all(arch in space for arch in archs({k: sampler.sample(at, k) for k in range(sampler.subnets_per_step)}))


@pytest.mark.parametrize("name", ["largest", "smallest"])
@pytest.mark.parametrize("sampler", [SandwichSampler(), BalancedSampler(), ParetoSampler()], ids=repr)
def test_ends_come_first(sampler, name):
    at = moment("mobilenet", 5)
    assert sampler.sample(at, ["largest", "smallest"].index(name)) == getattr(at.space, name)
    assert sampler.subnets_per_step == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SandwichSampler(-1), "SandwichSampler: n_random is a count of subnets, 0 or more; got -1"),
        (lambda: UniformSampler(0), "UniformSampler: n is a count of subnets, 1 or more; got 0"),
        (lambda: StrictlyFairSampler(0), "StrictlyFairSampler: n is a count of subnets, 1 or more; got 0"),
        (lambda: NestedSampler(-2), "NestedSampler: n is a count of subnets, 1 or more; got -2"),
        (lambda: BalancedSampler(0), "BalancedSampler: n is a count of subnets, 1 or more; got 0"),
        (lambda: ParetoSampler(-1), "ParetoSampler: n is a count of subnets, 0 or more; got -1"),
        (lambda: ParetoSampler(candidates=0), "candidates is a count of subnets, 1 or more; got 0"),
        (lambda: ParetoSampler(winner="best"), 'winner has the "lowest" or the "highest" loss; got \'best\''),
        (lambda: ComplexityWalkSampler(-1), "ComplexityWalkSampler: n is a count of subnets, 0 or more; got -1"),
        (lambda: ComplexityWalkSampler(banks=0), "banks is a count of parts of the MACs, 1 or more; got 0"),
    ],
)
def test_wrong_fields(make, message):
    with pytest.raises(TrainingError, match=message):
        make()


# --- random, fair, nested -----------------------------------------------------------------------------------


def test_uniform_and_sandwich_draw_many():
    for sampler, ends in ((UniformSampler(4), 0), (SandwichSampler(4), 2)):
        drawn = draw(sampler, "mobilenet", range(10))
        assert len({arch for (_, k), arch in drawn.items() if k >= ends}) > 35


counts = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def plain(counts):
    """A space without gates, and its MACs."""
    return SearchSpace(tuple(Dim(f"dim.{n}", tuple(range(count))) for n, count in enumerate(counts)))


@given(counts, st.integers(0, 2**40), st.integers(1, 12), st.integers(0, 2**20))
def test_counts_of_choices_differ_by_one_at_most(counts, first, steps, seed):
    space, n = plain(counts), max(counts)
    at = [SamplingContext(space, lambda rows: rows.sum(1), seed, step) for step in range(first, first + steps)]
    drawn = [StrictlyFairSampler(n).sample(moment, k) for moment in at for k in range(n)]
    for dim in space.dims:
        times = [sum(arch[dim.name] == choice for arch in drawn) for choice in dim.choices]
        assert max(times) - min(times) <= 1
        if n % len(dim.choices) == 0:
            assert max(times) == min(times)


def test_dims_are_dealt_independently():
    space = plain([3, 3])
    drawn = [
        StrictlyFairSampler(3).sample(SamplingContext(space, lambda rows: rows.sum(1), 0, step), k)
        for step in range(600)
        for k in range(3)
    ]
    pairs = {pair: drawn.count(pair) for pair in set(drawn)}
    assert len(pairs) == 9
    assert all(150 < times < 250 for times in pairs.values())


def test_fairness_needs_as_many_subnets_as_choices():
    at = SamplingContext(plain([2, 4, 3]), lambda rows: rows.sum(1), 0, 0)
    with pytest.raises(TrainingError, match=r"n is 3, .* each of the 4 choices of dim\.1, .*; set n to 4"):
        StrictlyFairSampler(3).sample(at, 0)


@given(counts, st.integers(0, 1000))
def test_nested_subnets_take_equal_ranks(counts, step):
    space, n = plain(counts), max(counts)
    at = SamplingContext(space, lambda rows: rows.sum(1), 0, step)
    drawn = [NestedSampler(n).sample(at, k) for k in range(n)]
    assert drawn[0] == space.largest
    assert n == 1 or drawn[-1] == space.smallest
    for dim in space.dims:
        ranks = [dim.choices.index(arch[dim.name]) for arch in drawn]
        assert ranks == sorted(ranks, reverse=True)
        if len(dim.choices) == n:
            assert ranks == list(range(n))[::-1]
        wanted = np.linspace(len(dim.choices) - 1, 0, n)
        assert np.abs(ranks - wanted).max() <= 0.5 + 1e-9


# --- by MACs ------------------------------------------------------------------------------------------------


@every_family
@pytest.mark.parametrize("target", [0.0, 0.1, 0.35, 0.5, 0.8, 1.0])
def test_nearest_is_near(family, target):
    at = moment(family, 3)
    found = nearest(at, 1, target, 3)
    away = np.abs(sizes(family, found) - target)
    assert len(set(found)) == 3
    assert away.max() < 0.1
    assert (np.diff(away) >= 0).all()
    assert nearest(at, 1, target) == found[:1]


def unevenness(family, drawn):
    """Half the sum of absolute differences between a ten-part histogram and a flat one: 0…0.9."""
    shares = np.histogram(sizes(family, drawn), 10, (0, 1))[0] / len(drawn)
    return np.abs(shares - 0.1).sum() / 2


@every_family
def test_balanced_is_much_flatter_than_uniform(family):
    balanced = BalancedSampler(3, with_largest=False, with_smallest=False)
    even = unevenness(family, list(draw(balanced, family, range(250)).values()))
    uniform = unevenness(family, made_once(family).space.sample(0, 750))
    assert even < 0.1
    assert uniform > 0.25


@every_family
def test_balanced_steps_have_a_subnet_in_each_part(family):
    drawn = draw(BalancedSampler(4), family, range(30))
    for k in range(4):
        part = sizes(family, [drawn[step, k + 2] for step in range(30)])
        assert part.min() > k / 4 - 0.08
        assert part.max() < (k + 1) / 4 + 0.08
    assert BalancedSampler(4, with_smallest=False).subnets_per_step == 5


@every_family
@pytest.mark.parametrize("winner", ["lowest", "highest"])
def test_contests_are_among_equals(family, winner):
    drawn = draw(ParetoSampler(2, candidates=3, winner=winner), family, range(40))
    contests = [one for one in drawn.values() if isinstance(one, Contest)]
    assert len(contests) == 80
    assert all(contest.winner == winner and len(set(contest.archs)) == 3 for contest in contests)
    places = np.array([sizes(family, contest.archs) for contest in contests])
    assert np.ptp(places, axis=1).max() < 0.15
    assert np.histogram(places.mean(1), 4, (0, 1))[0].min() > 8


def test_a_contest_may_have_fewer_candidates():
    at = SamplingContext(plain([2]), lambda rows: rows.sum(1), 0, 0)
    assert {arch["dim.0"] for arch in ParetoSampler(1).sample(at, 2).archs} == {0, 1}


# --- the walk -----------------------------------------------------------------------------------------------


def step_by_step(start, banks, moves):
    """The banks of a walk between mirrors, one after the other."""
    bank, direction, visited = start, 1, [start]
    for move in moves:
        wanted = bank + direction * move
        if 0 <= wanted < banks:
            bank = wanted
        else:
            direction = -direction
        visited.append(bank)
    return visited


@given(st.integers(0, 2**31), st.integers(1, 9), st.sampled_from([0, 4000, 8100]))
def test_walk_is_taken_step_by_step(seed, banks, first):
    sampler = ComplexityWalkSampler(banks=banks)
    steps = range(first, first + 200)
    sums = np.array([walked(seed, step) for step in steps])
    moves = np.diff(sums)
    assert set(moves) <= {-1, 0, 1}
    visited = [sampler.bank(seed, step) for step in steps]
    slow = [step_by_step(visited[0], banks, sign * moves) for sign in (1, -1)]  # it may have been mirrored before
    assert visited in slow
    assert first or visited == slow[0]


def test_walk_reaches_far_steps_and_all_banks():
    sampler = ComplexityWalkSampler(banks=5)
    visited = [sampler.bank(0, step) for step in range(1_000_000, 1_002_000)]
    assert np.abs(np.diff(visited)).max() == 1
    starts = np.bincount([sampler.bank(seed, step) for seed in range(500) for step in (0, 7, 60)], minlength=5)
    assert starts.min() > 230
    assert starts.max() < 370


@every_family
def test_walk_stays_in_its_bank(family):
    sampler = ComplexityWalkSampler(n=2, banks=5)
    drawn = draw(sampler, family, range(0, 300, 6))
    smallest = {}
    for step in range(0, 300, 6):
        bank = sampler.bank(0, step)
        lower, own, *rest = bank / 5, *sizes(family, [drawn[step, k] for k in (1, 2, 3)])
        assert drawn[step, 0] == made_once(family).space.largest
        assert lower <= own < lower + 0.12
        assert all(lower - 0.08 < size < lower + 0.28 for size in rest)
        assert smallest.setdefault(bank, drawn[step, 1]) == drawn[step, 1]
    assert len(smallest) == 5
    assert smallest[0] == made_once(family).space.smallest


def test_a_space_of_any_size_is_refused_in_words():
    """It has more subnets than a float can count."""
    at = SamplingContext(plain([8] * 400), lambda rows: rows.sum(1), 0, 0)
    with pytest.raises(TrainingError, match=r"the phase has 1\.7e\+361 subnets, too many to train in turn"):
        RoundRobinSampler().sample(at, 0)
