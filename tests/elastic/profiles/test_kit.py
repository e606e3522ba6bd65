"""Kits: written here, measured where neither PyTorch nor this project is, read back here."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import mobilenet, vit

from elastic.errors import ArchError, ProfileError
from elastic.formats.onnx_files import open_onnx, run_onnx
from elastic.profiles.blocks import build_variant, distinct_variants, find_blocks
from elastic.profiles.kit import read_measured, write_kit
from elastic.profiles.measuring import measure_profile
from elastic.profiles.profile import DeviceProfile
from elastic.timing.setting import Setting

OPTIONS = {"subnets": 3, "time_limit": 0.1, "resolutions": [16]}

ALONE = """
import runpy, sys
sys.modules["torch"] = sys.modules["elastic"] = None  # importing them fails
sys.argv = {argv!r}
{before}
runpy.run_path(sys.argv[0], run_name="__main__")
"""

KILLED = """
import os, signal
fsync = os.fsync
def once(file):
    fsync(file)
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = once
"""


def measure(kit, *words, before="", check=True):
    program = ALONE.format(argv=[str(kit / "measure.py"), *words], before=before)
    command = [sys.executable, "-I", "-W", "error", "-c", program]
    return subprocess.run(command, check=check, capture_output=True, text=True)


@pytest.fixture(scope="module")
def supernet():
    return vit(choices={"heads": None, "embed": None})  # few different blocks


@pytest.fixture(scope="module")
def kit(supernet, tmp_path_factory):
    """A kit, not measured."""
    return write_kit(supernet, tmp_path_factory.mktemp("kits") / "kit", **OPTIONS)


@pytest.fixture(scope="module")
def measured(kit):
    """The same, measured."""
    measure(kit, "--threads", "2")
    return kit


def test_a_kit_is_models_a_script_and_how_to_use_it(kit):
    found = {path.relative_to(kit).as_posix() for path in kit.rglob("*") if path.is_file()}
    listed = json.loads((kit / "kit.json").read_text())["files"].values()
    assert found >= {"kit.json", "measure.py", "README.md", *listed}
    readme = (kit / "README.md").read_text()
    assert all(name in readme for name in ("python measure.py", "import SUPERNET measured.json"))


def test_its_models_compute_what_the_modules_compute(supernet, kit):
    values = json.loads((kit / "kit.json").read_text())
    blocks = distinct_variants(find_blocks(supernet, supernet.space.narrow({"resolution": [16]})))
    assert {f"block:{name}" for name in blocks} == set(values["blocks"])
    given = {f"block:{name}": build_variant(supernet, variant) for name, variant in blocks.items()}
    for key, arch in values["subnets"].items():
        given[key] = supernet.extract(arch).eval(), [torch.randn(1, *supernet.input_shape(arch))]
    assert set(given) == set(values["files"])
    for key, (module, inputs) in given.items():
        with torch.inference_mode():
            wanted = module(*inputs).numpy()
        found = run_onnx(open_onnx(kit / values["files"][key]), inputs)[0]
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_what_it_measures_becomes_the_profile_that_a_direct_measurement_gives(supernet, measured, tmp_path):
    profile = read_measured(supernet, measured)
    assert profile == read_measured(supernet, measured / "measured.json")
    direct = measure_profile(supernet, Setting("torch", threads=2), **OPTIONS)
    assert profile.setting == replace(direct.setting, runtime="onnxruntime")
    assert [one.arch for one in profile.subnets] == [one.arch for one in direct.subnets]
    assert [described(one) for one in profile.blocks] == [described(one) for one in direct.blocks]
    assert profile.resolutions == direct.resolutions
    assert len(profile.conditions.busy) == len(direct.conditions.busy)
    assert set(profile.device) ^ set(direct.device) == {"torch", "onnxruntime"}
    assert DeviceProfile.load(profile.save(tmp_path / "p.json")) == profile


def described(block):
    return block.signature, block.path, block.layer, block.values, block.shapes


def test_a_killed_script_goes_on_where_it_stopped(supernet, kit, tmp_path):
    out = tmp_path / "measured.json"
    assert measure(kit, "--out", str(out), before=KILLED, check=False).returncode == -signal.SIGKILL
    partial = tmp_path / "measured.json.partial.jsonl"
    assert list(tmp_path.iterdir()) == [partial]
    first = json.loads(partial.read_text().splitlines()[1])
    with pytest.raises(ProfileError, match=r"measuring was interrupted; run measure\.py again"):
        read_measured(supernet, tmp_path)
    other = measure(kit, "--out", str(out), "--threads", "2", check=False)
    assert "Traceback" not in other.stderr
    assert "another threads: 1, now 2" in other.stderr
    measure(kit, "--out", str(out))
    assert list(tmp_path.iterdir()) == [out]
    groups = json.loads(out.read_text())["groups"]
    assert groups[0] == first
    assert len(read_measured(supernet, out).subnets) == 3


# --- what is refused ----------------------------------------------------------------------------------------


def test_another_supernet_s_measurements_are_refused(measured):
    with pytest.raises(ProfileError, match="measured on supernet"):
        read_measured(mobilenet(), measured)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "isn't a kit's measurements.*truncated"),
        (lambda text: text.replace("elastic measurements", "soup"), "its kind is 'soup'"),
        (lambda text: text.replace('"groups": [', '"groups": [], "left": ['), "measurements are missing, subnet:"),
        (lambda text: text.replace('"tolerance"', '"patience"'), "is broken"),
        (lambda text: text.replace('"device"', '"devise"'), "is broken"),
    ],
)
def test_a_broken_file_is_refused(supernet, measured, tmp_path, change, message):
    path = tmp_path / "measured.json"
    path.write_text(change((measured / "measured.json").read_text()))
    with pytest.raises(ProfileError, match=message):
        read_measured(supernet, path)


def test_a_kit_that_was_not_measured_is_refused(supernet, tmp_path):
    with pytest.raises(ProfileError, match=r"measured\.json doesn't exist; wanted a kit's measurements"):
        read_measured(supernet, tmp_path)


def test_what_is_in_a_folder_stays(supernet, tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(ProfileError, match="isn't empty; write the kit into a new folder"):
        write_kit(supernet, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_interrupted_kit_leaves_nothing(supernet, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("elastic.profiles.kit.write_onnx_files", stop)
    with pytest.raises(KeyboardInterrupt):
        write_kit(supernet, tmp_path / "kit", **OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_what_a_kit_cannot_measure_is_refused(supernet, tmp_path):
    with pytest.raises(ProfileError, match="a kit is measured by onnxruntime on a CPU, not by torch on cpu"):
        write_kit(supernet, tmp_path / "kit", Setting("torch"))
    with pytest.raises(ArchError, match="none of"):
        write_kit(supernet, tmp_path / "kit", resolutions=[17])


def test_the_script_says_what_it_does_not_understand(kit):
    ended = measure(kit, "--threads", "0", check=False)
    assert ended.returncode == 2
    assert "wanted 1 thread or more" in ended.stderr
