"""The front measured again: what was predicted stays, what was measured stands beside it."""

from dataclasses import replace

import numpy as np
import pytest
from small import mobilenet, vit

from elastic.errors import ArchError, ProfileError
from elastic.profiles.measuring import measure_profile
from elastic.searching.result import SearchResult
from elastic.searching.search import search
from elastic.searching.verification import is_here, remeasure_front, spread
from elastic.timing.setting import Setting


@pytest.fixture(scope="module")
def found():
    supernet = mobilenet()
    profile = measure_profile(supernet, Setting(), subnets=8, time_limit=0.1)
    result = search(
        supernet, evaluate=lambda arch: {"accuracy": float(int(arch.id, 16) % 100)}, profile=profile,
        population=6, generations=2,
    )  # fmt: skip
    return supernet, profile, result


def test_metrics_stand_beside_each_other(found, tmp_path):
    supernet, profile, result = found
    again = remeasure_front(supernet, result, lambda arch: {"accuracy": 7.0}, profile, subnets=3, seconds=0.05)
    chosen = {one.arch for one in spread(result, 3)}
    assert result.best.arch in chosen
    for before, after in zip(result.candidates, again.candidates, strict=True):
        assert (before.arch, before.metrics) == (after.arch, after.metrics)
        assert set(after.measured) == ({"accuracy", "latency_ms"} if after.arch in chosen else set())
    assert again.best.measured["accuracy"] == 7.0
    assert again.best.measured["latency_ms"] > 0
    again.save(tmp_path / "s.json")
    assert SearchResult.load(tmp_path / "s.json") == again


def test_what_can_be_measured_is(found):
    supernet, profile, result = found
    only = remeasure_front(supernet, result, lambda arch: {"accuracy": 7.0}, subnets=1)
    assert [dict(one.measured) for one in only.candidates if one.measured] == [{"accuracy": 7.0}]
    timed = remeasure_front(supernet, result, profile=profile, subnets=1, seconds=0.02, latency="latency_ms.here")
    assert set(timed.best.measured) == {"latency_ms.here"}


@pytest.mark.parametrize("subnets", [1, 2, 4, 99])
def test_the_front_is_covered_evenly(found, subnets):
    _, _, result = found
    chosen = spread(result, subnets)
    assert result.best in chosen
    assert len(chosen) <= max(subnets, 1)
    assert chosen == [one for one in result.front if one in chosen]


def test_metrics_of_numpy_can_be_saved(found, tmp_path):
    supernet, _, result = found
    again = remeasure_front(supernet, result, lambda arch: {"accuracy": np.float32(7)}, subnets=1)
    assert SearchResult.load(again.save(tmp_path / "s.json")) == again


def test_another_supernet_is_refused(found):
    _, _, result = found
    with pytest.raises(ArchError, match="search this one with"):
        remeasure_front(vit(), result)


def test_another_device_is_refused(found):
    supernet, profile, result = found
    other = replace(profile, device={**profile.device, "processor": "abacus"})
    assert is_here(profile)
    assert not is_here(other)
    with pytest.raises(ProfileError, match=r"another device.*abacus"):
        remeasure_front(supernet, result, profile=other)
