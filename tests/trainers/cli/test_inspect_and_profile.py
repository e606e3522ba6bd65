"""The light commands, end to end in a folder, and what users can type wrong."""

import json
import subprocess
import sys

import pytest
from devices import synthetic
from small import SOURCE, randomise

from elastic.errors import ArchError, CheckpointError, ProfileError, RecipeError
from elastic.profiles.profile import DeviceProfile
from elastic.reporting.tables import profile_table, result_table
from elastic.searching.search import search
from elastic.supernet.folder import load_supernet, save_supernet
from elastic.timing.records import Conditions
from trainers.cli.arguments import choose_subnet, parse_arch
from trainers.cli.inspect import inspect
from trainers.cli.main import main
from trainers.cli.profile import check, import_, kit, profile


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
    out = str(tmp_path / "p.json")
    profile(net, out, subnets=9, time_limit=0.1, blocks=0, accept_noise=True)
    before = DeviceProfile.load(out)
    check(net, out, subnets=3, time_limit=0.1, accept_noise=True)
    once = DeviceProfile.load(out)
    check(net, out, subnets=4, time_limit=0.1, accept_noise=True)
    twice = DeviceProfile.load(out)
    assert before.subnets == once.subnets == twice.subnets
    assert [len(check.subnets) for check in twice.checks] == [3, 4]
    assert once.checks == twice.checks[:1]
    shown = " ".join(capsys.readouterr().out.split())
    assert "3 fresh subnets" in shown
    assert "within 90% intervals" in shown


def interval(self, supernet, archs, coverage):
    predicted = self.latency_ms(supernet, archs)
    return predicted * 0.9, predicted * 1.1


def test_a_kit_goes_out_and_its_measurements_come_back(net, supernet, tmp_path, capsys):
    folder, out = tmp_path / "kit", tmp_path / "p.json"
    side = str(supernet.space["resolution"].choices[0])
    kit(net, str(folder), subnets=2, blocks=0, resolutions=side)
    subprocess.run([sys.executable, "-I", str(folder / "measure.py"), "--seconds", "0.1"], check=True)
    assert not out.exists()
    import_(net, str(folder), str(out), accept_noise=True)
    assert len(DeviceProfile.load(out).subnets) == 2
    assert "run its measure.py" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        (["--check", "3"], "--check belongs to another command: elastic profile check SUPERNET"),
        (["--kit", "kit"], "--kit belongs to another command: elastic profile kit SUPERNET --out FOLDER"),
        (["--import", "kit"], "--import belongs to another command: elastic profile import SUPERNET FILE"),
    ],
)
def test_the_options_of_before_say_which_command_they_became(capsys, options, cure):
    assert main(["profile", "net", *options]) == 2
    assert cure in capsys.readouterr().err


def test_the_result_table_marks_the_best(result):
    table = result_table(result)
    assert table.row_count == len(result.front)
    assert list(table.columns[0].cells).count("best") == 1


def test_a_profile_too_small_to_predict_from_is_shown_all_the_same(supernet):
    small, large = synthetic(supernet, 3), synthetic(supernet, 20)
    assert profile_table(small, supernet).row_count + 1 == profile_table(large, supernet).row_count


# --- archs as users type them --------------------------------------------------------------------------------


def test_an_arch_is_named_in_every_way(supernet, result, tmp_path):
    space = supernet.space
    arch = space.sample(3)
    file = tmp_path / "arch.json"
    file.write_text(arch.to_json())
    assert parse_arch(supernet, "smallest") == space.smallest
    assert parse_arch(supernet, "largest") == space.largest
    assert parse_arch(supernet, arch.to_json()) == parse_arch(supernet, str(file)) == arch
    assert parse_arch(supernet, "depth=2") == parse_arch(supernet, '{"depth": 2}') == space.variant({"depth": 2})
    assert choose_subnet(supernet, "smallest") == (space.smallest, {})
    saved = result.save(tmp_path / "s.json")
    assert choose_subnet(supernet, result=str(saved)) == (result.best.arch, result.best.metrics)


@pytest.mark.parametrize(
    ("arch", "result", "message"),
    [
        (None, None, "either --arch"),
        ("smallest", "s.json", "either --arch"),
        ("tiny", None, "tiny doesn't exist; wanted an arch: smallest, largest, JSON"),
        ("missing.json", None, "missing.json doesn't exist"),
        ("smalest", None, r"no arch 'smalest'; did you mean smallest\?"),
        ("depth=two", None, "'two' is no number"),
        ("depth=99", None, "depth = 99 isn't on offer"),
        ("{depth: 2}", None, "not an arch"),
        ("part.json", None, "lacks 'embed'"),
        ("dept=2", None, r"'dept' names no dim; did you mean depth\?"),
        ('{"dept": 2}', None, r"'dept' names no dim; did you mean depth\?"),
        ('{"depth": "two"}', None, "JSON object of numbers"),
    ],
)
def test_an_arch_that_is_none_is_refused(supernet, arch, result, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "part.json").write_text('{"depth": 2}')
    with pytest.raises(ArchError, match=message):
        choose_subnet(supernet, arch, result)


def test_other_mistakes_end_in_one_clear_sentence(net, tmp_path):
    with pytest.raises(RecipeError, match=r"no model 'resnet19'.*did you mean resnet18"):
        inspect("resnet19")
    with pytest.raises(CheckpointError, match="there is no folder runs/nope, and no supernet of that name"):
        inspect("runs/nope")
    with pytest.raises(RecipeError, match="did you mean mobilenetv3_small_100"):
        inspect("mobilnetv3_small_100")
    with pytest.raises(RecipeError, match="did you mean ofa_resnet50"):
        inspect("ofa_resnet5")
    with pytest.raises(CheckpointError, match="elastic fit writes one"):
        profile(str(tmp_path))
    with pytest.raises(ProfileError, match="no runtime 'tvm'"):
        profile(net, runtime="tvm")
    with pytest.raises(ProfileError, match="can't read the resolutions '160x192'; write them as 160,192"):
        profile(net, resolutions="160x192")
