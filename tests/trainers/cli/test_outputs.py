"""Every command says that it can't write its results before it begins to work for them."""

import inspect

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
