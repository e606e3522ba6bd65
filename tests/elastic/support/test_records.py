"""Dataclasses as JSON: files of earlier versions load, and what is wrong in a file is said with its place."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from elastic.errors import CheckpointError, ProfileError
from elastic.profiles.profile import DeviceProfile
from elastic.searching.result import SearchResult
from elastic.space.arch import Arch
from elastic.support.records import from_plain, to_plain

SAMPLES = Path(__file__).parents[1] / "samples"


@dataclass(frozen=True)
class Record:
    """What a test writes and reads."""

    arch: Arch
    numbers: tuple[float, ...]
    name: str = "unnamed"


def test_a_record_survives_json_with_archs_and_numpy_numbers():
    record = Record(Arch({"width": 4, "ratio": 0.5}), (np.float64(1.5), np.int64(2)))
    assert from_plain(json.loads(json.dumps(to_plain(record))), Record) == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numbers": [1.0, "2"]}, r"Expected `float`, got `str` - at `\$\.numbers\[1\]`"),
        ({"name": None}, r"Expected `str`, got `null` - at `\$\.name`"),
        ({"arch": 3}, r"\$\.arch"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(change, message):
    with pytest.raises(ValueError, match=message):
        from_plain({"arch": {}, "numbers": [], **change}, Record)


def test_a_profile_of_an_earlier_version_loads():
    profile = DeviceProfile.load(SAMPLES / "profile.json")
    assert profile.setting.runtime == "torch"
    assert profile.subnets[0].arch == Arch({"width": 2, "ratio": 0.5})
    assert [one.pace for one in profile.subnets] == [1.01, 1.0]
    assert profile.measured_ms.tolist() == pytest.approx([1.375 / 1.01, 2.375])
    assert (profile.blocks[0].shapes, profile.blocks[0].timing.median_ms) == (((1, 3),), 0.375)
    assert profile.conditions.drift == pytest.approx(0.005 / 1.0075)
    assert profile.checks[0].coverage == 1.0
    assert profile.checks[0].interval_ms == ((1.0, 2.0), (2.0, 3.0))


def test_a_search_result_of_an_earlier_version_loads():
    result = SearchResult.load(SAMPLES / "search.json")
    assert (result.algorithm, result.evaluations, result.history) == ("evolution", 2, ())
    assert result.candidates[1].measured == {"accuracy": 90.0}
    assert math.isnan(result.candidates[1].metrics["accuracy"])
    assert isinstance(result.candidates[0].metrics["macs"], int)


@pytest.mark.parametrize(
    ("name", "load", "error", "old", "new", "place"),
    [
        ("profile", DeviceProfile.load, ProfileError, "[1.5, 1.25]", "[1.5, 0]", "$.subnets[0].milliseconds[1]"),
        ("profile", DeviceProfile.load, ProfileError, "[0.25, 0.5]", "[]", "$.blocks[0].milliseconds"),
        ("profile", DeviceProfile.load, ProfileError, "[1.02, 1.0]", "[Infinity]", "$.conditions.references[1][0]"),
        ("search", SearchResult.load, CheckpointError, "1001", '"many"', "$.candidates[1].metrics"),
        ("search", SearchResult.load, CheckpointError, '"maximize"', '"maximise"', "maximize"),
    ],
)
def test_a_broken_value_in_a_file_is_named_with_its_place(tmp_path, name, load, error, old, new, place):
    text = (SAMPLES / f"{name}.json").read_text()
    assert text.count(old) == 1
    broken = tmp_path / "broken.json"
    broken.write_text(text.replace(old, new))
    with pytest.raises(error, match=r"is a broken (device profile|search result) .*; make it again with") as said:
        load(broken)
    assert place in str(said.value)
