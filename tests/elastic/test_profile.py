"""Profiles: what is measured, kept, checked and predicted. Nothing here asserts a time."""

import json

import numpy as np
import pytest
import torch
from small import mobilenet, vit

from elastic.errors import ProfileError
from elastic.latency import cross_validate, fit_latency
from elastic.measure import Setting, Timing, time_runs
from elastic.profile import DeviceProfile, SubnetTiming
from elastic.profiling import choose_archs, measure_profile, part_modules
from elastic.storage import digest_supernet


def synthetic(supernet, n=40):
    """A profile whose latencies follow from MACs, as if measured without noise."""
    archs = choose_archs(supernet, n, seed=0)
    times = 0.2 + supernet.macs(archs) * 1e-6
    subnets = tuple(SubnetTiming(arch, Timing(float(ms), 0.01, 20)) for arch, ms in zip(archs, times, strict=True))
    return DeviceProfile(Setting(), {"processor": "none", "cores": 1}, digest_supernet(supernet), subnets)


@pytest.mark.parametrize("family", [vit, mobilenet])
def test_measures_what_was_asked_and_leaves_the_supernet_alone(family):
    supernet = family()
    supernet.activate(supernet.space.sample(3))
    before, arch = {k: v.clone() for k, v in supernet.state_dict().items()}, supernet.arch
    supernet.train()
    threads = torch.get_num_threads()
    profile = measure_profile(supernet, Setting(batch_size=2), subnets=5, time_limit=0.1)
    assert torch.get_num_threads() == threads
    assert supernet.training
    assert supernet.arch == arch
    assert all(torch.equal(value, before[key]) for key, value in supernet.state_dict().items())
    archs = [one.arch for one in profile.subnets]
    assert archs[:2] == [supernet.space.smallest, supernet.space.largest]
    assert len(set(archs)) == 5
    assert all(one.timing.median_ms > 0 for one in (*profile.subnets, *profile.blocks))
    assert all(shape[0] == 2 for block in profile.blocks for shape in block.shapes)


def test_blocks_have_the_sizes_of_the_arch_they_were_cut_from():
    supernet = vit()
    profile = measure_profile(supernet, subnets=2, time_limit=0.1)
    space = supernet.space
    for block in profile.blocks:
        inside = {name: value for name, value in block.sizes.items() if name in space.largest}
        assert any(
            all(arch.get(name, value) == value for name, value in inside.items())
            for arch in (space.smallest, space.largest)
        )
    assert {block.layer for block in profile.blocks} >= {"PatchEmbed", "Block", "LayerNorm", "Linear"}


@pytest.mark.parametrize("family", [vit, mobilenet])
def test_parts_cover_every_parameter_of_a_block_stem_and_head_once(family):
    supernet = family()
    inside = [id(p) for _, module in part_modules(supernet) for p in module.parameters()]
    assert len(inside) == len(set(inside))
    loose = {id(p) for name, p in supernet.model.named_parameters() if "." not in name}
    assert {id(p) for p in supernet.model.parameters()} == set(inside) | loose


def test_onnxruntime_is_measured_too():
    profile = measure_profile(vit(), Setting("onnxruntime"), subnets=2, time_limit=0.1)
    assert profile.device["onnxruntime"]
    assert len(profile.subnets) == 2


def test_a_profile_survives_its_file(tmp_path):
    profile = measure_profile(vit(), subnets=3, time_limit=0.1)
    assert DeviceProfile.load(profile.save(tmp_path / "p.json")) == profile


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


def test_cross_validation_predicts_each_subnet_without_having_seen_it():
    rng = np.random.default_rng(0)
    features, noise = rng.random((60, 8)), rng.random(60) + 1
    assert abs(cross_validate(features, noise).tau) < 0.4  # nothing to learn, nothing learned
    fitted = fit_latency(features, noise).predict(features)
    assert fitted.shape == (60,)


def test_timings_are_medians_and_quartiles():
    timing = Timing.of([1.0, 2.0, 3.0, 4.0, 100.0])
    assert timing == Timing(3.0, 2.0, 5)
    assert timing.uncertainty == pytest.approx(1.57 * 2 / 5**0.5 / 3)


def test_every_run_is_timed_even_without_time():
    seen = [0, 0, 0]

    def run(at):
        seen[at] += 1

    timings = time_runs([lambda at=at: run(at) for at in range(3)], seconds=0.0)
    assert min(timing.runs for timing in timings) > 0
    assert min(seen) > max(timing.runs for timing in timings)  # those that warm up aren't timed


def test_chosen_archs_are_distinct_and_spread_over_macs():
    supernet = mobilenet()
    archs = choose_archs(supernet, 20, seed=1)
    macs = supernet.macs(archs)
    assert len(set(archs)) == 20
    assert archs == choose_archs(supernet, 20, seed=1)
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
    with pytest.raises(ProfileError, match="8 measured subnets or more, this profile has 3"):
        synthetic(supernet, 3).latency_ms(supernet, [supernet.space.smallest])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "isn't a device profile.*truncated"),
        (lambda text: "[1, 2]", "holds a list"),
        (lambda text: json.dumps({"kind": "recipe for soup"}), "its kind is 'recipe for soup'"),
        (lambda text: text.replace('"median_ms"', '"median_s"', 1), "broken device profile"),
        (lambda text: text.replace('"runs": 20', '"runs": 0', 1), "broken device profile"),
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
        (Setting("tensorrt"), "no runtime 'tensorrt'; choose one of torch, onnxruntime"),
        (Setting(precision="int3"), "can't measure 'int3'"),
        (Setting("onnxruntime", precision="bfloat16"), "onnxruntime can't measure 'bfloat16'"),
        (Setting(threads=0), "must be 1 or more"),
        (Setting(device="tpu"), "no device 'tpu'"),
    ],
)
def test_a_setting_that_cannot_be_measured_is_refused(setting, message):
    with pytest.raises(ProfileError, match=message):
        measure_profile(vit(), setting)


def test_a_missing_gpu_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ProfileError, match="sees no GPU"):
        Setting(device="cuda").check()
