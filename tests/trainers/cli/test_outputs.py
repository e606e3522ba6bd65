"""Every command says that it can't write its results before it begins to work for them."""

import inspect
from pathlib import Path

import pytest

from trainers.cli.commands import COMMANDS
from trainers.cli.main import main

WRITTEN = {"out", "report", "csv", "cache", "extract"}
PLACES = [
    (name, option, is_file)
    for name, command in COMMANDS.items()
    for options, is_file in ((command.files, True), (command.folders, False))
    for option in options
]


def needed(name):
    """A word for each argument that the command can't do without."""
    parameters = inspect.signature(COMMANDS[name].function).parameters.values()
    return ["something" for one in parameters if one.default is one.empty]


@pytest.mark.parametrize("name", [name for name in COMMANDS if not COMMANDS[name].own_parser])
def test_every_option_that_names_a_result_is_in_the_table(name):
    command = COMMANDS[name]
    assert WRITTEN & set(inspect.signature(command.function).parameters) <= {*command.files, *command.folders}


@pytest.mark.parametrize(("name", "option", "is_file"), PLACES)
def test_a_place_that_cannot_be_written_is_said_at_once(name, option, is_file, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    place = tmp_path if is_file else tmp_path / "file"
    for given in (place, tmp_path / "file" / "below", ""):
        assert main([*name.split(), *needed(name), f"--{option}", str(given)]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"elastic: --{option}"), said
        assert said.count("\n") == 1


def test_a_run_that_cannot_be_written_is_said_before_anything_is_built(config, tmp_path, capsys):
    (tmp_path / "runs").write_text("")
    assert main(["fit", "--config", str(config)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"elastic: --runs {tmp_path / 'runs'} --name tiny")
    assert said.endswith("is a file, so nothing can be written below it; name another place\n")


@pytest.mark.parametrize(("name", "option", "is_file"), PLACES)
def test_files_of_ones_own_are_not_replaced(name, option, is_file, tmp_path, capsys):
    """Another file, a folder with files of another kind, and a link, wherever a command writes."""
    if COMMANDS[name].folders.get(option) == "any":
        pytest.skip("it looks after its folder itself")
    mine = tmp_path / "mine"
    mine.write_text('{"mine": 1}')
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_text('{"mine": 1}')
    (tmp_path / "link").symlink_to(mine)
    for place in (mine, tmp_path / "link") if is_file else (tmp_path / "folder",):
        assert main([*name.split(), *needed(name), f"--{option}", str(place)]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"elastic: --{option} {place} "), said
        assert said.endswith("name another place, or add --overwrite\n"), said
    assert mine.read_text() == (tmp_path / "folder" / "config.json").read_text() == '{"mine": 1}'
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(("name", "option"), [(name, option) for name, option, is_file in PLACES if is_file])
def test_a_device_is_not_replaced(name, option, capsys):
    assert main([*name.split(), *needed(name), f"--{option}", "/dev/null"]) == 2
    assert "is a device or a pipe" in capsys.readouterr().err
    assert not Path("/dev/null").is_file()
