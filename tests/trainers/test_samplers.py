import random

import pytest
import torch

from elastic.errors import TrainingError
from trainers import SandwichSampler


def draw(space, seed, steps):
    sampler = SandwichSampler()
    return {(step, k): sampler.sample(space, seed, step, k) for step in steps for k in range(4)}


def test_sandwich_is_largest_smallest_and_random(source):
    space = source.build().space
    drawn = draw(space, 0, range(8))
    assert all(drawn[step, 0] == space.largest and drawn[step, 1] == space.smallest for step in range(8))
    assert len({drawn[step, k] for step in range(8) for k in (2, 3)}) > 12
    assert all(arch in space for arch in drawn.values())
    assert SandwichSampler(n_random=5).subnets_per_step == 7


def test_sampling_is_a_pure_function(source):
    space = source.build().space
    forwards = draw(space, 3, range(6))
    states = random.getstate(), torch.get_rng_state().tolist()
    assert draw(space, 3, reversed(range(6))) == forwards
    assert states == (random.getstate(), torch.get_rng_state().tolist())
    assert draw(space, 4, range(6)) != forwards


def test_sandwich_stays_in_a_narrowed_space(source):
    space = source.build().space
    narrowed = space.narrow({"resolution": 32, "depth": 1})
    drawn = draw(narrowed, 0, range(8)).values()
    assert all(arch in narrowed and arch in space for arch in drawn)
    assert {arch["resolution"] for arch in drawn} == {32}


def test_wrong_count():
    with pytest.raises(TrainingError, match="n_random is a count of subnets, 0 or more; got -1"):
        SandwichSampler(n_random=-1)
