"""No traceback for a wrong word or path: every command, every kind of mistake, over the table of commands."""

import inspect
from importlib.util import find_spec

import pytest
import torch
import yaml
from examples import mostly_swept

from elastic.supernet.folder import save_supernet
from elastic.supernet.source import SupernetSource
from trainers.cli.commands import COMMANDS
from trainers.cli.extract import extract
from trainers.cli.main import main

PARSED = [name for name in COMMANDS if not COMMANDS[name].own_parser]
TRAINING = [name for name in COMMANDS if COMMANDS[name].own_parser]
NUMBERS = ("int", "float", "bool", "list[int]", "dict[")

# options and arguments that name something to be read: what the command needs beside them
READ = {
    "inspect": {"model": []},
    "profile": {"supernet": []},
    "profile check": {"supernet": [], "profile": ["RUN"]},
    "profile kit": {"supernet": []},
    "profile import": {"supernet": ["measured.json"], "measured": ["RUN"]},
    "search": {"supernet": [], "profile": ["RUN"], "data": ["RUN"]},
    "extract": {"supernet": ["--arch", "smallest"], "arch": ["RUN"], "result": ["RUN"], "data": ["RUN"]},
    "export": {"folder": [], "data": ["SUBNET"]},
    "attack": {"supernet": [], "archs": ["RUN"], "result": ["RUN"], "data": ["RUN"]},
    "zoo info": {"name": []},
    "zoo import": {"name": [], "path": ["ofa_mbv3_fashion_mnist"]},
    "zoo convert": {"name": ["{}"], "encoding": ["ofa_mbv3_fashion_mnist"]},
    "demo": {"config": []},
    "conformance": {"names": []},
    "completion": {"shell": []},
    "zoo list": {},
}
WRONG = (
    "missing",
    "missing/below.json",
    "folder",
    "words.txt",
    "words.txt/below",
    "empty.yaml",
    "list.json",
    "3",
    "-1",
)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder with a supernet, a subnet, and what is neither."""
    place = tmp_path_factory.mktemp("room")
    sizes = {"num_classes": 10, "channels": [8, 8, 8, 8], "layers": [1, 1, 1, 1]}
    source = SupernetSource("resnet18", sizes, input_size=[1, 32, 32])
    with torch.random.fork_rng(devices=[]):
        save_supernet(source.build(), source, place / "RUN")
    data = {"class_path": "Digits", "init_args": {"batch_size": 16}}
    (place / "RUN" / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    extract(str(place / "RUN"), "smallest", out=str(place / "SUBNET"))
    (place / "things").mkdir()
    (place / "words.txt").write_text("some words: [1, 2\n")
    (place / "empty.yaml").write_text("")
    (place / "list.json").write_text("[1, 2]\n")
    return place


@pytest.fixture
def refused(room, capfd, monkeypatch):
    """Checks that a command line is refused in one sentence."""
    monkeypatch.chdir(room)

    def check(words):
        capfd.readouterr()
        assert main(words) == 2, words
        lines = capfd.readouterr().err.strip().splitlines()
        assert len(lines) == 1, (words, lines)
        assert lines[0].startswith("elastic: ")
        assert "<unicode string>" not in lines[0]

    return check


def test_every_command_is_tried():
    assert set(READ) == set(PARSED)


def parameters(name):
    return inspect.signature(COMMANDS[name].function).parameters.values()


@pytest.mark.parametrize("name", PARSED)
def test_options_that_do_not_exist_and_words_for_numbers(name, refused):
    command = [*name.split(), *("3" for one in parameters(name) if one.default is one.empty)]
    refused([*command, "--soup", "3"])
    refused([*command, "--soup=3"])
    refused([*command, "too", "many", "words"])
    refused([*command, "--config", "missing"])
    for one in parameters(name):
        if one.default is not one.empty:
            refused([*command, f"--{one.name}q", "3"])
        if one.default is not one.empty and str(one.annotation).startswith(NUMBERS):
            refused([*command, f"--{one.name}", "soup"])


@pytest.mark.parametrize(("name", "option"), [(name, option) for name, options in READ.items() for option in options])
def test_a_path_or_a_name_that_is_something_else(name, option, refused):
    if name in ("inspect", "conformance") and find_spec("transformers"):
        refused([*name.split(), *(["--names"] if name == "conformance" else []), "transformers:brt"])
    positional = [one.name for one in parameters(name) if one.default is one.empty]
    for wrong in WRONG:
        beside = list(READ[name][option])
        given = [wrong] if option in positional else [f"--{option}", wrong]
        at = positional.index(option) if option in positional else len(beside)
        refused([*name.split(), *beside[:at], *given, *beside[at:]])


@pytest.mark.parametrize("name", mostly_swept(TRAINING, ["fit"]))
def test_training_is_refused_in_a_sentence_too(name, refused):
    known = ["--config", "digits", "--trainer.fast_dev_run", "1"]
    for wrong in WRONG:
        refused([name, wrong])
        refused([name, "--config", wrong])
    for wrong in ("missing", "things", "words.txt"):
        refused([name, *known, "--ckpt_path", wrong])
        refused([name, *known, "--subnet", wrong])
        refused([name, *known, "--data", wrong])
    for option in ("model.sampler", "model.loss", "seed_everything", "trainer.max_epochs", "trainer.accelerator"):
        refused([name, *known, f"--{option}", "soup"])
        refused([name, *known, f"--{option}q", "3"])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("trainer.devices", "soup"),
        ("trainer.devices", "-1"),
        ("trainer.strategy", "soup"),
        ("model.supernet.input_size", "[]"),
        ("model.supernet.input_size", "[1, 0, 8]"),
        ("model.supernet.choices", "{depth: [1, 99]}"),
        ("model.validation.metric", "soup"),
        ("model.curriculum.phases", "[]"),
    ],
)
def test_values_that_cannot_be_are_refused_in_a_sentence(option, value, refused):
    refused(["fit", "--config", "digits", "--trainer.accelerator", "cpu", f"--{option}", value])
