"""What a folder's configuration names is never imported or called, unless whoever reads it says so."""

import inspect
import re
from pathlib import Path

import pytest
import yaml

import trainers
from elastic.errors import CheckpointError, UsageError
from elastic.supernet.source import SupernetSource
from trainers.class_paths import FREE, TRUST, own_class, refuse_foreign_classes, refuse_hidden_classes
from trainers.cli.main import main
from trainers.configurations import shipped_configurations
from trainers.jobs.data_section import load_data

CODE = {"class_path": "pathlib.Path.touch", "init_args": {"self": "called"}}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """What is called writes `called` here; what is imported, `imported`."""
    (tmp_path / "hostile.py").write_text(
        "from pathlib import Path\nfrom trainers import Digits\n\nPath('imported').touch()\n\n\n"
        "class Data(Digits):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nothing_ran(folder: Path) -> bool:
    return not (folder / "called").exists() and not (folder / "imported").exists()


DIGITS = {"class_path": "Digits", "init_args": {"size": 16}}
FOREIGN = {
    "a class of their own": {"class_path": "hostile.Data"},
    "a class by its name alone": "hostile.Data",
    "a function": {"class_path": "os.system", "init_args": {"command": "touch called"}},
    "below plain data": {**DIGITS, "init_args": {"mixup": {"mixup_alpha": CODE}}},
    "in a list below plain data": {"class_path": "TimmData", "init_args": {"train_transform": {"scale": [CODE]}}},
    "below a number": {**DIGITS, "init_args": {"size": CODE}},
    "a file": "theirs.yaml",
    "a private class": {"class_path": "trainers.lightning_cli.SupernetCLI"},
    "a path through a class": {"class_path": "trainers.Digits.__init__"},
    "no text": {"class_path": ["os.system"]},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_data_section_from_elsewhere_runs_nothing(kind, own_folder):
    (own_folder / "theirs.yaml").write_text(yaml.safe_dump({"class_path": "hostile.Data"}))
    path = own_folder / "config.yaml"
    path.write_text(yaml.safe_dump({"data": FOREIGN[kind]}))
    with pytest.raises(UsageError, match=re.escape(str(path))):
        load_data(path)
    assert nothing_ran(own_folder)


@pytest.mark.parametrize(
    "options",
    [{"name": "hfds/them/theirs"}, {"name": "wds/x"}, {"root": "pipe:touch called"}, {"root": "http://127.0.0.1:9/x"}],
)
def test_a_data_section_from_elsewhere_fetches_nothing(options, own_folder):
    path = own_folder / "config.yaml"
    path.write_text(yaml.safe_dump({"data": {"class_path": "TimmData", "init_args": options}}))
    with pytest.raises(UsageError, match=f"is fetched; if you want that, add {TRUST}"):
        load_data(path)


def test_a_data_section_from_elsewhere_downloads_nothing(own_folder):
    path = own_folder / "config.yaml"
    options = {"name": "torch/fashion_mnist", "download": True}
    path.write_text(yaml.safe_dump({"data": {"class_path": "TimmData", "init_args": options}}))
    assert load_data(path).download is False
    assert load_data(path, trust_code=True).download is True


def test_a_class_of_ones_own_is_made_where_it_is_trusted(own_folder):
    path = own_folder / "config.yaml"
    path.write_text(yaml.safe_dump({"data": {"class_path": "hostile.Data"}}))
    with pytest.raises(UsageError, match=f"hostile.Data.*isn't a class of this project.*add {TRUST}"):
        load_data(path)
    assert type(load_data(path, trust_code=True)).__name__ == "Data"


@pytest.mark.parametrize("section", [None, 3, [], {"class_path": "Digits", "init_args": {"channels": 0}}, {}])
def test_a_data_section_that_is_something_else_is_refused(section, own_folder):
    path = own_folder / "config.yaml"
    path.write_text(yaml.safe_dump({"data": section}))
    with pytest.raises((CheckpointError, UsageError), match=re.escape(str(path))):
        load_data(path)


@pytest.mark.parametrize("command", ["validate", "test"])
@pytest.mark.parametrize(
    "theirs",
    [
        {"trainer": {"callbacks": [CODE]}},
        {"trainer": {"callbacks": "hostile.Data"}},
        {"trainer": {"logger": {"class_path": "hostile.Data"}}},
        {"data": {"class_path": "hostile.Data"}},
        {"model": {"sampler": "hostile.Data"}},
        {"model": {"supernet": {"model": "resnet18", "model_args": {"note": CODE}}}},
        {"model": "theirs.yaml"},
    ],
)
def test_the_folder_of_a_run_from_elsewhere_runs_nothing(command, theirs, own_folder, capsys):
    run = own_folder / "theirs"
    run.mkdir()
    (run / "last.ckpt").write_bytes(b"")
    (run / "config.yaml").write_text(yaml.safe_dump({"data": DIGITS, **theirs}))
    assert main([command, str(run)]) == 2
    assert "config.yaml: " in capsys.readouterr().err
    assert nothing_ran(own_folder)


@pytest.mark.parametrize("free", sorted(FREE))
def test_no_class_is_named_where_plain_data_is_wanted(free, own_folder, capsys):
    config = {"model": {"supernet": {"model": "resnet18", free: {"a": [{"b": CODE}]}}}}
    with pytest.raises(UsageError, match=f"names the class 'pathlib.Path.touch', and {free} holds plain data"):
        refuse_hidden_classes(config, "theirs.yaml")
    (own_folder / "theirs.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", "theirs.yaml"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert nothing_ran(own_folder)


def test_every_option_that_is_plain_data_is_known():
    classes = [SupernetSource, *(one for name in dir(trainers) if inspect.isclass(one := getattr(trainers, name)))]
    found = {
        name
        for one in classes
        for name, parameter in inspect.signature(one).parameters.items()
        if "Any]" in str(parameter.annotation) and parameter.kind is not parameter.VAR_KEYWORD
    }
    assert found
    assert found <= FREE | {"args", "kwargs"}


@pytest.mark.parametrize("name", shipped_configurations())
def test_shipped_configurations_name_classes_of_this_project_only(name):
    refuse_foreign_classes(yaml.safe_load(shipped_configurations()[name].read_text()), name)


def test_own_classes_are_found_by_each_of_their_paths():
    for name in ("Digits", "trainers.Digits", "trainers.data.digits.Digits", "trainers.digits.Digits"):
        assert own_class(name) is trainers.Digits
    for name in ("os.system", "trainers.load_from_checkpoint", "Digit", "", None, 3):
        assert own_class(name) is None
