"""Profiles: what is measured, kept, checked and predicted. Nothing here asserts a time."""

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from devices import synthetic
from forked import run_program
from small import mobilenet, vit

from elastic.errors import ArchError, ProfileError
from elastic.profiles.blocks import distinct_variants, find_blocks
from elastic.profiles.measuring import assemble, check_profile, measure_profile
from elastic.profiles.plan import spread_archs
from elastic.profiles.profile import DeviceProfile
from elastic.support.journal import Journal
from elastic.timing import protocol
from elastic.timing.backends import check_setting, fingerprint
from elastic.timing.protocol import OtherLoad, Timing, time_runs
from elastic.timing.records import Conditions, ProfileCheck, SubnetTiming
from elastic.timing.setting import Setting

QUICK = {"time_limit": 0.1, "blocks": 0}


@pytest.mark.parametrize("family", [vit, mobilenet])
def test_measures_what_was_asked_and_leaves_the_supernet_alone(family):
    supernet = family()
    supernet.activate(supernet.space.sample(3))
    before, arch = {k: v.clone() for k, v in supernet.state_dict().items()}, supernet.arch
    supernet.train()
    threads = torch.get_num_threads()
    profile = measure_profile(supernet, Setting(batch_size=2), subnets=5, time_limit=0.1, blocks=80)
    assert torch.get_num_threads() == threads
    assert supernet.training
    assert supernet.arch == arch
    assert all(torch.equal(value, before[key]) for key, value in supernet.state_dict().items())
    archs = [one.arch for one in profile.subnets]
    assert archs[:2] == [supernet.space.smallest, supernet.space.largest]
    assert len(set(archs)) == 5
    assert all(one.timing.median_ms > 0 for one in (*profile.subnets, *profile.blocks))
    assert all(shape[0] == 2 for block in profile.blocks for shape in block.shapes)


def test_every_different_block_is_measured_once_with_what_it_depends_on():
    supernet = vit()
    profile = measure_profile(supernet, subnets=2, time_limit=0.1, resolutions=[16, 24])
    space = supernet.space.narrow({"resolution": [16, 24]})
    assert [block.signature for block in profile.blocks] == list(distinct_variants(find_blocks(supernet, space)))
    assert profile.resolutions == (16, 24)
    assert all(set(block.values) <= set(space.names) for block in profile.blocks)
    assert all(one.arch["resolution"] in (16, 24) for one in profile.subnets)
    assert {block.layer for block in profile.blocks} >= {"PatchEmbed", "Block", "LayerNorm", "Linear"}


def test_too_many_different_blocks_are_left_out():
    assert measure_profile(vit(), subnets=1, time_limit=0.1, blocks=3).blocks == ()


def test_a_profile_survives_its_file(tmp_path):
    supernet = vit()
    profile = measure_profile(supernet, subnets=3, time_limit=0.1, resolutions=[16])
    assert profile.blocks
    check = ProfileCheck(profile.subnets, (1.0, 2.0, 3.0), ((0.5, 1.5),) * 3, 0.8, profile.conditions, "today")
    profile = profile.with_check(check)
    assert DeviceProfile.load(profile.save(tmp_path / "p.json")) == profile
    assert json.loads((tmp_path / "p.json").read_text())["good"] == profile.good


def test_a_profile_s_file_has_a_line_for_each_measurement(tmp_path):
    text = synthetic(vit(), 9).save(tmp_path / "p.json").read_text()
    assert sum('"milliseconds"' in line for line in text.splitlines()) == 9


def test_prediction_finds_a_latency_that_follows_from_the_arch():
    supernet = mobilenet()
    profile = synthetic(supernet)
    archs = supernet.space.sample(7, 200)
    wanted = 0.2 + supernet.macs(archs) * 1e-6
    predicted = profile.latency_ms(supernet, archs)
    assert predicted.shape == (200,)
    assert predicted.dtype == np.float64
    assert np.abs(predicted / wanted - 1).max() < 0.05
    error = profile.prediction_error(supernet)
    assert error.mape < 2
    assert error.tau > 0.95


def test_encoded_rows_and_archs_get_the_same_prediction():
    supernet = vit()
    profile = synthetic(supernet)
    archs = supernet.space.sample(1, 5)
    rows = supernet.space.encode(archs)
    np.testing.assert_array_equal(profile.latency_ms(supernet, archs), profile.latency_ms(supernet, rows))


def test_timings_are_medians_and_quartiles():
    timing = Timing.of([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (timing.median_ms, timing.iqr_ms, timing.runs) == (3.0, 2.0, 5)
    assert timing.uncertainty == pytest.approx(1.57 * 2 / 5**0.5 / 3)
    assert timing.milliseconds == (1.0, 2.0, 3.0, 4.0, 100.0)
    assert Timing.of([0.0123456789]).milliseconds == (0.012346,)


def test_every_run_is_timed_even_without_time():
    seen = [0, 0, 0]

    def run(at):
        seen[at] += 1

    timings = time_runs([lambda at=at: run(at) for at in range(3)], seconds=0.0)
    assert [timing.runs for timing in timings] == [5, 5, 5]
    assert min(seen) > 5  # those that warm up aren't timed


def test_what_is_sure_is_not_timed_again(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(protocol, "time", clock)
    rng = np.random.default_rng(0)
    steady, unsteady = time_runs([lambda: clock.pass_(2.0), lambda: clock.pass_(rng.uniform(1, 5))], seconds=3.0)
    assert steady == Timing((2.0,) * 10)
    assert unsteady.runs > 2 * steady.runs
    assert unsteady.uncertainty < 0.5
    endless = time_runs([lambda: clock.pass_(rng.uniform(1, 5))], seconds=1e9, tolerance=0.0)
    assert endless[0].runs == 200


class Clock:
    """A clock that only runs take time from."""

    now = 0

    def pass_(self, milliseconds):
        self.now += int(milliseconds * 1e6)

    def perf_counter_ns(self):
        return self.now

    def perf_counter(self):
        return self.now / 1e9


def test_short_runs_are_timed_many_times_a_visit(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(protocol, "time", clock)
    lengths = [0.05, 0.05, 0.05, 9.0]  # every fourth run is interrupted
    runs = iter(lengths * 10000)
    timing = time_runs([lambda: clock.pass_(next(runs))], seconds=0.0)[0]
    assert timing.median_ms == 0.05


# --- how far to trust it ------------------------------------------------------------------------------------


def test_a_quiet_measurement_is_good_and_a_noisy_one_says_why():
    sure, unsure = Timing((1.0, 1.001, 0.999) * 5), Timing((1.0, 2.0, 3.0))
    quiet = Conditions(references=(sure.milliseconds,) * 2, busy=(0.0, 0.01))
    assert quiet.objections([sure] * 10) == []
    assert quiet.noisy([sure] * 3 + [unsure]) == 0.25
    assert "25% of the medians are less sure than ± 2%" in quiet.objections([sure] * 3 + [unsure])[0]
    drifting = Conditions(references=(sure.milliseconds, (1.2,) * 9))
    assert drifting.drift == pytest.approx(0.2 / 1.1)
    assert "took from 1 to 1.2 ms" in drifting.objections([sure])[0]
    assert "other processes took 40% of the processors" in Conditions(busy=(0.4,)).objections([sure])[0]


def test_a_profile_is_as_good_as_its_conditions():
    profile = synthetic(vit(), 9)
    assert profile.good
    assert profile.noisy == 0
    busy = replace(profile, conditions=Conditions(busy=(0.5,)))
    assert not busy.good
    assert busy.objections == busy.conditions.objections([])


def test_medians_are_put_right_by_the_pace_of_their_group():
    slow, usual = {"a": [2.0, 2.2, 1.8]}, {"b": [3.0], "c": [1.0]}
    groups = [
        {"timings": slow, "reference": [1.5], "busy": 0.0},
        {"timings": usual, "reference": [1.0], "busy": 0.0},
        {"timings": {"d": [4.0]}, "reference": [1.0], "busy": 0.0},
    ]
    subnets = {key: dict(arch) for key, arch in zip("abcd", vit().space.sample(0, 4), strict=True)}
    plan = {"setting": {}, "supernet": "", "subnets": subnets, "blocks": {}, "resolutions": []}
    profile = assemble(plan, groups, {}, 0.02)
    assert profile.measured_ms == pytest.approx([2.0 / 1.5, 3.0, 1.0, 4.0])
    assert profile.subnets[0].timing.milliseconds == (2.0, 2.2, 1.8)  # raw times are kept
    assert profile.conditions.drift == pytest.approx(0.5)


def test_a_busy_device_is_noticed():
    load = OtherLoad()
    command = [sys.executable, "-c", "import time\nend = time.time() + 1\nwhile time.time() < end: pass"]
    own = subprocess.Popen(command)
    own.wait()
    shared = load.share()
    assert 0.1 < shared <= 1.0
    assert OtherLoad().share() <= 1.0


def test_a_check_compares_predictions_with_measurements():
    archs = vit().space.sample(0, 4)
    subnets = tuple(SubnetTiming(arch, (ms,) * 3) for arch, ms in zip(archs, (1.0, 2.0, 3.0, 4.0), strict=True))
    check = ProfileCheck(subnets, (1.1, 1.8, 3.0, 4.0), ((0.9, 1.05), (1.9, 2.0), (1.0, 2.0), (4.0, 5.0)))
    assert check.mape == pytest.approx(5.0)
    assert check.tau == 1.0
    assert check.coverage == 0.75


def test_a_check_measures_subnets_that_the_profile_has_not_seen(monkeypatch):
    monkeypatch.setattr(
        DeviceProfile, "latency_interval", lambda self, *_: (np.zeros(6), np.full(6, 1e9)), raising=False
    )
    supernet = vit()
    profile = replace(synthetic(supernet), device=fingerprint(Setting()), resolutions=(16, 24))
    check = check_profile(supernet, profile, 6, time_limit=0.1)
    archs = [one.arch for one in check.subnets]
    assert len(set(archs)) == 6
    assert not set(archs) & {one.arch for one in profile.subnets}
    assert all(arch["resolution"] in (16, 24) for arch in archs)
    np.testing.assert_allclose(check.predicted_ms, profile.latency_ms(supernet, archs), atol=1e-6)
    assert check.coverage == 1.0
    assert check.mape > 0
    again = check_profile(supernet, profile, 6, time_limit=0.1)
    assert [one.arch for one in again.subnets] == archs


def test_a_check_needs_the_profile_s_own_supernet_and_device():
    supernet, profile = vit(), synthetic(vit())
    with pytest.raises(ProfileError, match="measured on supernet"):
        check_profile(mobilenet(), profile)
    with pytest.raises(ProfileError, match=r"another device: its processor is none.*check it where it was measured"):
        check_profile(supernet, profile)


# --- interrupted --------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from small import vit
from elastic.profiles.measuring import measure_profile
from elastic.support.journal import Journal

whole = Journal.add
def add(journal, group):
    whole(journal, group)
    if len(journal.entries) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Journal.add = add
measure_profile(vit(), subnets=40, time_limit=0.1, blocks=0, out=sys.argv[1])
"""


def test_a_killed_measurement_goes_on_where_it_stopped(tmp_path, monkeypatch):
    out = tmp_path / "p.json"
    run_program(KILLED, str(out), ends=-signal.SIGKILL)
    assert [path.name for path in tmp_path.iterdir()] == ["p.json.partial.jsonl"]
    partial = tmp_path / "p.json.partial.jsonl"
    before = [json.loads(line) for line in partial.read_text().splitlines()][1:]
    partial.write_text(partial.read_text() + '{"timings": {"subnet')  # as if killed while writing
    with monkeypatch.context() as patched:
        added = []
        patched.setattr(Journal, "add", lambda journal, group: (added.append(group), journal.entries.append(group)))
        profile = measure_profile(vit(), subnets=40, out=out, **QUICK)
    assert len(added) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]
    times = {f"subnet:{one.arch.id}": list(one.timing.milliseconds) for one in profile.subnets}
    assert len(times) == 40
    for group in before:
        assert all(times[key] == milliseconds for key, milliseconds in group["timings"].items())
    assert len(profile.conditions.references) == len(profile.conditions.busy) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "another seed: 0, now 1"),
        ({"setting": Setting(threads=2)}, "another setting"),
        ({"subnets": 4}, "another subnets"),
    ],
)
def test_another_measurement_s_unfinished_file_is_refused(tmp_path, change, message):
    out = tmp_path / "p.json"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DeviceProfile, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            measure_profile(vit(), subnets=3, out=out, **QUICK)
    partial = tmp_path / "p.json.partial.jsonl"
    before = partial.read_bytes()
    with pytest.raises(ProfileError, match=message + ".*finish that one with its own options, or remove the file"):
        measure_profile(vit(), **{"subnets": 3, "out": out, **QUICK, **change})
    assert partial.read_bytes() == before
    assert not out.exists()


def stop(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("text", ["soup", '{"kind": "recipe for soup"}\n', "[1]\n{\n"])
def test_a_foreign_file_in_the_place_of_the_unfinished_one_is_left_alone(tmp_path, text):
    partial = tmp_path / "p.json.partial.jsonl"
    partial.write_text(text)
    with pytest.raises(ProfileError, match=r"p\.json\.partial\.jsonl"):
        measure_profile(vit(), subnets=1, out=tmp_path / "p.json", **QUICK)
    assert partial.read_text() == text


def test_chosen_archs_are_distinct_and_spread_over_macs():
    supernet = mobilenet()
    archs = spread_archs(supernet, 20, seed=1)
    macs = supernet.macs(archs)
    assert len(set(archs)) == 20
    assert archs == spread_archs(supernet, 20, seed=1)
    assert macs[0] == macs.min()
    assert macs[1] == macs.max()
    uniform = supernet.macs(supernet.space.sample(1, 200))
    assert macs.std() > uniform.std()


# --- what is refused ----------------------------------------------------------------------------------------


def test_another_supernets_profile_is_refused():
    profile, other = synthetic(vit()), mobilenet()
    with pytest.raises(ProfileError, match=r"measured on supernet .*elastic profile"):
        profile.latency_ms(other, [other.space.smallest])


def test_too_few_subnets_are_refused():
    supernet = vit()
    with pytest.raises(ProfileError, match="8 measured subnets or more, got 3"):
        synthetic(supernet, 3).latency_ms(supernet, [supernet.space.smallest])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "isn't a device profile.*truncated"),
        (lambda text: "[1, 2]", "holds a list"),
        (lambda text: json.dumps({"kind": "recipe for soup"}), "its kind is 'recipe for soup'"),
        (lambda text: text.replace('"milliseconds"', '"seconds"', 1), "broken device profile"),
        (lambda text: re.sub(r'"milliseconds": \[.*?\]', '"milliseconds": []', text, count=1), "broken device profile"),
        (lambda text: re.sub(r'"milliseconds": \[', '"milliseconds": [-1.0, ', text, count=1), "broken device profile"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, change, message):
    path = synthetic(vit(), 8).save(tmp_path / "p.json")
    path.write_text(change(path.read_text()))
    with pytest.raises(ProfileError, match=message):
        DeviceProfile.load(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ProfileError, match="doesn't exist"):
        DeviceProfile.load(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (Setting("tensorrt"), "no runtime 'tensorrt'; choose one of torch, torch.compile, onnxruntime, openvino"),
        (Setting(precision="int3"), "can't measure 'int3'"),
        (Setting("onnxruntime", precision="bfloat16"), "onnxruntime can't measure 'bfloat16'"),
        (Setting(threads=0), "must be 1 or more"),
        (Setting(device="tpu"), "no device 'tpu' with torch; choose cpu or cuda"),
        (Setting("openvino", "cuda"), "no device 'cuda' with openvino; choose cpu"),
    ],
)
def test_a_setting_that_cannot_be_measured_is_refused(setting, message):
    with pytest.raises(ProfileError, match=message):
        measure_profile(vit(), setting)


def test_a_missing_gpu_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ProfileError, match="device cuda: PyTorch can't compute on that here; choose cpu"):
        check_setting(Setting(device="cuda"))


def test_resolutions_that_are_not_on_offer_are_refused():
    with pytest.raises(ArchError, match="none of"):
        measure_profile(vit(), resolutions=[20], **QUICK)
    with pytest.raises(ProfileError, match="wanted 1 subnet or more, got 0"):
        measure_profile(vit(), subnets=0, **QUICK)
    with pytest.raises(ProfileError, match="time limit above 0 s, got 0"):
        measure_profile(vit(), time_limit=0)
