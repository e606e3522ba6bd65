"""The table of commands: help, dispatch, completion and near matches are made from it.

A command's module is imported when that command runs or is asked for its help, and imports what it needs inside its
functions: so `elastic --help` and `elastic COMMAND --help` import neither PyTorch nor Lightning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name

from elastic.errors import UsageError
from elastic.support.text import did_you_mean, nearest


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        place: its function, as `module:function`. The command line is made from the function's signature and docstring;
            keyword-only parameters are shown by `--help_all` only.
        summary: one line for `elastic --help`.
        synonyms: other words that people type for it.
        needs: optional packages that it can't do without.
        moved: options that it had once, or is asked for → the command that has them.
        own_parser: the function takes the words themselves, `--help` among them.
        files: options that name files to write, each with a regular expression for how such a file begins: places are
            checked before the function is called, and another file isn't replaced without `--overwrite`.
        folders: likewise of folders, each with what one may hold: `subnet` (an exported one), `new` (nothing), `any`.
    """

    place: str
    summary: str
    synonyms: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    moved: Mapping[str, str] = field(default_factory=dict)
    own_parser: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)

    @property
    def function(self) -> Callable[..., None]:
        """The command's function; imports its module."""
        found: Callable[..., None] = resolve_name(self.place)
        return found


_PROFILE, _RESULT, _ROBUSTNESS, _CACHE = (
    rf'\s*{{\s*"kind": "elastic {kind}"' for kind in ("device profile", "search result", "robustness", "search cache")
)
_NOTHING = r"(?!)"
_REPORT = r'(?s)<!doctype html>.*(<meta name="generator" content="elastic">|<link rel="icon" href="data:,">)'

COMMANDS: Mapping[str, Command] = {
    "fit": Command("trainers.cli.fit:fit", "Train a supernet.", ("train", "training", "learn"), own_parser=True),
    "validate": Command(
        "trainers.cli.fit:validate",
        "Evaluate subnets of a trained supernet on the validation images.",
        ("val", "eval", "evaluate"),
        own_parser=True,
    ),
    "test": Command(
        "trainers.cli.fit:test", "Evaluate subnets of a trained supernet on the test images.", own_parser=True
    ),
    "inspect": Command(
        "trainers.cli.inspect:inspect",
        "Show what in a model is elastic, what is not and why, and what its subnets cost.",
        ("show", "summary"),
    ),
    "profile": Command(
        "trainers.cli.profile:profile",
        "Measure how long subnets and their blocks take on this device.",
        ("measure", "benchmark", "latency"),
        ("sklearn",),
        {
            "--check": "elastic profile check SUPERNET --subnets 8",
            "--kit": "elastic profile kit SUPERNET --out FOLDER",
            "--import": "elastic profile import SUPERNET FILE",
        },
        files={"out": _PROFILE},
    ),
    "profile check": Command(
        "trainers.cli.profile:check",
        "Compare a profile with fresh measurements.",
        needs=("sklearn",),
        files={"profile": _PROFILE},
    ),
    "profile kit": Command(
        "trainers.cli.profile:kit", "Write a folder that measures on a device without PyTorch.", folders={"out": "any"}
    ),
    "profile import": Command(
        "trainers.cli.profile:import_",
        "Make a profile of what a kit has measured.",
        needs=("sklearn",),
        files={"out": _PROFILE},
    ),
    "search": Command(
        "trainers.cli.search:search",
        "Find the best subnets within a budget.",
        ("find", "nas", "optimize"),
        ("pymoo", "sklearn"),
        files={"out": _RESULT, "report": _REPORT, "cache": _CACHE, "csv": "arch,front,"},
        folders={"extract": "subnet"},
    ),
    "extract": Command(
        "trainers.cli.extract:extract",
        "Cut a subnet out of a trained supernet: an ordinary model.",
        ("cut", "subnet"),
        moved={"--budget": "elastic search SUPERNET --budget macs=2M --extract FOLDER"},
        folders={"out": "subnet"},
    ),
    "export": Command(
        "trainers.cli.export:export",
        "Write an extracted subnet in other formats, and check each.",
        ("convert", "onnx"),
        folders={"out": "subnet"},
    ),
    "attack": Command(
        "trainers.cli.attack:attack",
        "Measure subnets' accuracy under attack.",
        ("robustness",),
        files={"out": _ROBUSTNESS, "report": _REPORT},
    ),
    "zoo list": Command("trainers.cli.zoo:list_", "Show the named supernets."),
    "zoo info": Command("trainers.cli.zoo:info", "Show the card of a named supernet.", ("show", "card")),
    "zoo import": Command(
        "trainers.cli.zoo:import_",
        "Make a folder of published weights.",
        ("download", "load", "pull"),
        folders={"out": "new"},
    ),
    "zoo convert": Command(
        "trainers.cli.zoo:convert", "Convert a subnet's encoding to an arch, or back.", files={"out": _NOTHING}
    ),
    "demo": Command(
        "trainers.cli.demo:demo",
        "Train on digits over photographs, profile, search, extract, export, and draw a report.",
        ("example", "tutorial"),
        ("lightning", "torchmetrics", "tensorboard", "pymoo", "sklearn", "plotly"),
        folders={"out": "any"},
    ),
    "conformance": Command(
        "trainers.cli.conformance:conformance",
        "Make architectures elastic, and check that subnets are exact.",
        files={"out": r"\| architecture "},
    ),
    "completion": Command("trainers.cli.completion:completion", "Print a script that completes commands in the shell."),
}
"""Name → command, in the order of `elastic --help`; a name of two words is a subcommand."""


_OPTIONS = ("--help", "--help_all", "--version", "--debug")
"""Of the program itself."""


def subcommands(group: str) -> list[str]:
    """The names of the commands below `group`, such as `zoo list` below `zoo`."""
    return [name for name in COMMANDS if name.startswith(f"{group} ")]


def find_command(words: Sequence[str]) -> tuple[str, list[str]]:
    """Find the command of a command line.

    Args:
        words: the command line without the program's name, with a word at least.

    Returns:
        Its name, and the words that are left. The name of a mere group, such as `zoo`, is returned where nothing but
        options follow it.

    Raises:
        UsageError: no such command; the message names those whose names are near.
    """
    name = " ".join(words[:2])
    if name in COMMANDS:
        return name, list(words[2:])
    group = words[0]
    below = subcommands(group)
    if group in COMMANDS:
        _refuse_near_subcommand(words[1:], below)
        return group, list(words[1:])
    if group.startswith("-"):
        cure = did_you_mean(group, _OPTIONS, "elastic --help shows the commands, each has options of its own")
        raise UsageError(f"no option {group!r}; {cure}")
    if not below:
        raise UsageError(f"no command {group!r}; {did_you_mean(group, _typed(_first_words()))}")
    if len(words) > 1 and not words[1].startswith("-"):
        typed = {word.removeprefix(f"{group} "): command for word, command in _typed(below).items()}
        raise UsageError(f"no command {name!r}; {did_you_mean(words[1], typed)}")
    return group, list(words[1:])


def _refuse_near_subcommand(words: Sequence[str], below: Iterable[str]) -> None:
    """Refuse `profile chek NET`, which would be a profile of a supernet that is called chek.

    Raises:
        UsageError: the first of `words` is no file, and near the name of a command in `below`.
    """
    word = words[0] if words else ""
    near = nearest(word, [name.split()[1] for name in below])
    if near and not word.startswith("-") and not Path(word).exists():
        meant = next(name for name in below if name.endswith(f" {near[0]}"))
        raise UsageError(f"there is no supernet {word!r}; did you mean elastic {meant}?")


def _first_words() -> list[str]:
    return list(dict.fromkeys(name.split()[0] for name in COMMANDS))


def _typed(names: Iterable[str]) -> dict[str, str]:
    """Names and synonyms of commands → the command."""
    names = list(names)
    synonyms = {word: name for name in names if name in COMMANDS for word in COMMANDS[name].synonyms}
    return {name: name for name in names} | {word: name for word, name in synonyms.items() if word not in names}
