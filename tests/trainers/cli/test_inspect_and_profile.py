"""The light verbs, end to end in a folder, and what users can type wrong."""

import json
import subprocess
import sys

import pytest
from devices import synthetic
from jsonargparse import auto_cli
from small import SOURCE, randomise

from elastic.errors import ArchError, CheckpointError, ProfileError, RecipeError
from elastic.profiles.profile import DeviceProfile
from elastic.reporting.tables import profile_table, result_table
from elastic.searching.search import search
from elastic.supernet.folder import load_supernet, save_supernet
from elastic.timing.records import Conditions
from trainers.cli.arguments import choose_arch
from trainers.cli.conformance import COMMANDS
from trainers.cli.inspect import inspect
from trainers.cli.profile import profile


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A supernet's folder."""
    supernet = SOURCE.build()
    randomise(supernet.model)
    return str(save_supernet(supernet, SOURCE, tmp_path_factory.mktemp("net")))


@pytest.fixture(scope="module")
def supernet(net):
    return load_supernet(net)


@pytest.fixture(scope="module")
def result(supernet):
    return search(supernet, maximize=["params"], minimize=["macs"], population=6, generations=2)


def test_inspect_shows_a_timm_model_and_a_folder_alike(net, capsys):
    inspect(net)
    of_folder = capsys.readouterr().out
    inspect(SOURCE.model, SOURCE.model_args, options=SOURCE.options)
    assert capsys.readouterr().out == of_folder
    for text in ("VisionTransformer", "heads", "not elastic", "smallest", "largest"):
        assert text in of_folder


def test_profile_writes_a_profile_of_this_supernet(net, supernet, tmp_path, capsys):
    out = tmp_path / "p.json"
    profile(net, str(out), subnets=8, time_limit=0.1, batch_size=2, blocks=0, accept_noise=True)
    DeviceProfile.load(out).check_supernet(supernet)
    shown = " ".join(capsys.readouterr().out.split())
    assert "8 subnets, no blocks (there are more than --blocks)" in shown
    assert "Kendall" in shown


def test_a_noisy_profile_is_written_and_ends_with_status_1(net, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Conditions, "objections", lambda *_: ["the neighbours are loud"])
    out = tmp_path / "p.json"
    with pytest.raises(SystemExit) as ended:
        profile(net, str(out), subnets=2, time_limit=0.1, blocks=0)
    assert ended.value.code == 1
    assert json.loads(out.read_text())["good"] is False
    shown = capsys.readouterr().out
    assert "noisy: the neighbours are loud. Close other programs and measure again" in shown
    profile(net, str(out), subnets=2, time_limit=0.1, blocks=0, accept_noise=True)


def test_check_compares_a_profile_with_fresh_subnets_and_keeps_it(net, supernet, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(DeviceProfile, "latency_interval", interval, raising=False)
    out = tmp_path / "p.json"
    profile(net, str(out), subnets=9, time_limit=0.1, blocks=0, check=3, accept_noise=True)
    once = DeviceProfile.load(out)
    profile(net, str(out), check=4, accept_noise=True)
    twice = DeviceProfile.load(out)
    assert twice.subnets == once.subnets  # what is there is checked, not measured anew
    assert [len(check.subnets) for check in twice.checks] == [3, 4]
    assert once.checks == twice.checks[:1]
    shown = " ".join(capsys.readouterr().out.split())
    assert "3 fresh subnets" in shown
    assert "within 90% intervals" in shown
    with pytest.raises(ProfileError, match="measured with threads 1, not 2: to check it give --threads 1"):
        profile(net, str(out), threads=2, check=4)


def interval(self, supernet, archs, coverage):
    predicted = self.latency_ms(supernet, archs)
    return predicted * 0.9, predicted * 1.1


def test_a_kit_goes_out_and_its_measurements_come_back(net, supernet, tmp_path, capsys):
    kit, out = tmp_path / "kit", tmp_path / "p.json"
    options = ["--subnets", "2", "--blocks", "0", "--resolutions", str(supernet.space["resolution"].choices[0])]
    auto_cli(profile, args=[net, "--kit", str(kit), *options])
    subprocess.run([sys.executable, "-I", str(kit / "measure.py"), "--seconds", "0.1"], check=True)
    assert not out.exists()
    auto_cli(profile, args=[net, "--import", str(kit), "--out", str(out), "--accept_noise", "true"])
    assert len(DeviceProfile.load(out).subnets) == 2
    assert "run its measure.py" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "torch"}, "by onnxruntime on a CPU, not by torch on cpu; leave runtime and device out"),
        ({"check": 3}, "a kit is measured elsewhere, by its measure.py; give --import and --check when it is back"),
        ({"import": "kit"}, "a kit is measured elsewhere"),
    ],
)
def test_what_does_not_go_with_a_kit_is_refused(net, tmp_path, options, message):
    with pytest.raises(ProfileError, match=message):
        profile(net, kit=str(tmp_path / "kit"), **options)
    assert not (tmp_path / "kit").exists()


def test_a_kits_runtime_may_be_said(net, supernet, tmp_path):
    side = str(supernet.space["resolution"].choices[0])
    profile(net, kit=str(tmp_path / "kit"), runtime="onnxruntime", subnets=1, blocks=0, resolutions=side)
    assert (tmp_path / "kit" / "measure.py").exists()


def test_the_result_table_marks_the_best(result):
    table = result_table(result)
    assert table.row_count == len(result.front)
    assert list(table.columns[0].cells).count("best") == 1


def test_a_profile_too_small_to_predict_from_is_shown_all_the_same(supernet):
    small, large = synthetic(supernet, 3), synthetic(supernet, 20)
    assert profile_table(small, supernet).row_count + 1 == profile_table(large, supernet).row_count


def test_import_is_explained_too(capsys):
    with pytest.raises(SystemExit):
        auto_cli(profile, args=["--help"])
    assert "--import IMPORT what a kit's script wrote" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_argument_is_explained(verb):
    doc = COMMANDS[verb].__doc__
    names = COMMANDS[verb].__code__.co_varnames[: COMMANDS[verb].__code__.co_argcount]
    assert all(f"\n        {name}: " in doc for name in names)


# --- archs as users type them --------------------------------------------------------------------------------


def test_an_arch_is_named_in_every_way(supernet, result, tmp_path):
    space = supernet.space
    arch = space.sample(3)
    file = tmp_path / "arch.json"
    file.write_text(arch.to_json())
    assert choose_arch(supernet, "smallest") == space.smallest
    assert choose_arch(supernet, "largest") == space.largest
    assert choose_arch(supernet, arch.to_json()) == choose_arch(supernet, str(file)) == arch
    saved = result.save(tmp_path / "s.json")
    assert choose_arch(supernet, result=str(saved)) == result.best.arch


@pytest.mark.parametrize(
    ("arch", "result", "message"),
    [
        (None, None, "either --arch"),
        ("smallest", "s.json", "either --arch"),
        ("tiny", None, "tiny doesn't exist; wanted an arch: smallest, largest, JSON"),
        ("missing.json", None, "missing.json doesn't exist"),
        ("{depth: 2}", None, "not an arch"),
        ('{"depth": 2}', None, "lacks 'embed'"),
        ('{"width": 2}', None, "unknown dim 'width'"),
        ('{"depth": "two"}', None, "JSON object of numbers"),
    ],
)
def test_an_arch_that_is_none_is_refused(supernet, arch, result, message):
    with pytest.raises(ArchError, match=message):
        choose_arch(supernet, arch, result)


def test_other_mistakes_end_in_one_clear_sentence(net, tmp_path):
    with pytest.raises(RecipeError, match="no model 'resnet19'"):
        inspect("resnet19")
    with pytest.raises(CheckpointError, match="elastic fit writes one"):
        profile(str(tmp_path))
    with pytest.raises(ProfileError, match="no runtime 'tvm'"):
        profile(net, runtime="tvm")
    with pytest.raises(ProfileError, match="can't read the resolutions '160x192'; write them as 160,192"):
        profile(net, resolutions="160x192")
