"""What was measured is kept in a file: by one search at a time, and asked again for metrics that it lacks."""

import json

import pytest
from small import vit

from elastic.errors import CheckpointError
from elastic.searching.cache import open_measurements


@pytest.fixture(scope="module")
def supernet():
    return vit()


def test_a_file_that_another_search_is_writing_is_refused_and_left_alone(supernet, tmp_path, monkeypatch):
    path, arch = tmp_path / "cache.jsonl", supernet.space.smallest
    monkeypatch.setattr("elastic.searching.cache.PATIENCE", 0.01)
    with open_measurements(lambda _: {"accuracy": 90}, supernet, path) as measure:
        measure(arch)
        with path.open("a") as file:
            file.write('{"arch": {"de')  # a line that is being written
        before = path.read_bytes()
        with (
            pytest.raises(CheckpointError, match=r"another search is writing .*jsonl; wait for its end, or name"),
            open_measurements(lambda _: {"accuracy": 90}, supernet, path),
        ):
            pass
        assert path.read_bytes() == before
    with open_measurements(lambda _: {"accuracy": 10}, supernet, path) as measure:
        assert measure(arch) == {"accuracy": 90}


def test_a_subnet_that_lacks_a_wanted_metric_is_measured_again(supernet, tmp_path):
    path, arch = tmp_path / "cache.jsonl", supernet.space.smallest
    with open_measurements(lambda _: {"accuracy": 90}, supernet, path) as measure:
        measure(arch)
    both = {"accuracy": 80.0, "robust": 40.0}
    with open_measurements(lambda _: both, supernet, path, wanted=["robust"]) as measure:
        assert measure(arch) == measure(arch) == both
    assert [json.loads(line)["metrics"] for line in path.read_text().splitlines()[1:]] == [{"accuracy": 90}, both]
    with open_measurements(lambda _: {}, supernet, path, wanted=["accuracy", "robust"]) as measure:
        assert measure(arch) == both


def test_a_cache_that_calls_the_metrics_figures_is_read(supernet, tmp_path):
    path, arch = tmp_path / "cache.jsonl", supernet.space.smallest
    with open_measurements(lambda _: {"accuracy": 90}, supernet, path) as measure:
        measure(arch)
    path.write_text(path.read_text().replace('"metrics"', '"figures"'))
    with open_measurements(lambda _: {"accuracy": 10}, supernet, path) as measure:
        assert measure(arch) == {"accuracy": 90}
