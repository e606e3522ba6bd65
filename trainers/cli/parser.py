"""A command's options: read from its function's signature, explained on one screen, and cured where misspelt."""

from __future__ import annotations

import inspect
import re
from argparse import SUPPRESS, Action
from collections.abc import Callable, Sequence
from typing import NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from elastic.errors import UsageError
from elastic.support.outputs import check_outputs, check_replaced
from elastic.support.packages import require_packages
from trainers.cli.commands import COMMANDS
from trainers.configurations import check_configuration
from trainers.jobs.words import check_words
from trainers.natural_forms import spell_out
from trainers.near_matches import with_near_matches


def run(name: str, words: Sequence[str]) -> None:
    """Parse the options of a command, and run it; or show its help, where `words` ask for that.

    Raises:
        PackageError: the command needs a package that isn't installed.
        UsageError: an option that the command doesn't have, or lacks, or of another type; or a place that can't be
            written to.
    """
    function = COMMANDS[name].function
    parser = CommandParser(name, function)
    if "config" not in inspect.signature(function).parameters:
        parser.add_argument("--config", action="config", help="A YAML file with options of this command.")
    parser.add_function_arguments(function, as_group=False, as_positional=True, sub_configs=True)
    if COMMANDS[name].files or COMMANDS[name].folders:
        parser.add_argument("--overwrite", type=bool, default=False, help="Replace files that aren't such results.")
    if "--help_all" in words:
        parser.show_help(full=True)
    elif "--help" in words or "-h" in words:
        parser.show_help(full=False)
    else:
        _check_configurations(words)
        given = parser.parse_args(spell_out(words, _annotations(function))).as_dict()
        if given.get("seed", 0) < 0:
            raise UsageError(f"--seed {given['seed']}: wanted 0 or more")
        require_packages(f"elastic {name}", *COMMANDS[name].needs)
        files, folders = COMMANDS[name].files, COMMANDS[name].folders
        check_outputs(
            {f"--{option}": given[option] for option in files}, {f"--{option}": given[option] for option in folders}
        )
        if not given.get("overwrite"):
            check_replaced(
                {f"--{option}": (given[option], begins) for option, begins in files.items()},
                {f"--{option}": (given[option], kind) for option, kind in folders.items()},
            )
        check_words(given)
        function(**{option: given[option] for option in inspect.signature(function).parameters})


def _check_configurations(words: Sequence[str]) -> None:
    """Name file and line of broken YAML, which the parser calls `<unicode string>`.

    Raises:
        UsageError: a value of --config isn't YAML, or holds no options.
    """
    for at, word in enumerate(words, 1):
        option, equals, value = word.partition("=")
        if option == "--config" and (equals or at < len(words)):
            check_configuration(value if equals else words[at])


def _annotations(function: Callable[..., None]) -> dict[str, str]:
    parameters = inspect.signature(function).parameters.values()
    return {"--overwrite": "bool"} | {
        f"--{one.name}": "bool" if one.annotation in (bool, "bool") else str(one.annotation) for one in parameters
    }


class CommandParser(ArgumentParser):
    """The options of one command.

    Args:
        name: the command's name.
        function: what it runs; its keyword-only parameters are left to `--help_all`.
    """

    def __init__(self, name: str, function: Callable[..., None]) -> None:
        super().__init__(
            prog=f"elastic {name}",
            description=(inspect.getdoc(function) or "").partition("\nArgs:")[0],
            formatter_class=_HelpFormatter,
            exit_on_error=False,
            add_help=False,
        )
        self._name = name
        self._function = function

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Name the nearest options, and what became of those that moved.

        Raises:
            UsageError: always.
        """
        for option, instead in COMMANDS[self._name].moved.items():
            if option in message:
                raise UsageError(f"{option} belongs to another command: {instead}") from ex
        if found := _REQUIRED.search(message):
            raise UsageError(self._needs(found[1].split(", ")[0])) from ex
        options = [option for action in self._actions for option in action.option_strings]
        raise UsageError(with_near_matches(message, options)) from ex

    def _needs(self, argument: str) -> str:
        """Which argument is missing, what it is, and a command line that has it."""
        means = next(action.help or "" for action in self._actions if action.dest == argument)
        example = _EXAMPLES.get(argument, argument.upper())
        return f"elastic {self._name} needs {argument}: {means.rstrip('.')}; such as elastic {self._name} {example}"

    def show_help(self, full: bool) -> None:
        """Print the common options, or all."""
        parameters = inspect.signature(self._function).parameters
        rare = {name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
        hidden = [action for action in self._actions if action.dest in rare or action.dest not in parameters]
        needed = " ".join(action.dest.upper() for action in self._actions if not action.option_strings)
        self.usage = f"elastic {self._name} {needed} [OPTION ...]"
        if not full:
            for action in hidden:
                action.help = SUPPRESS
            self.epilog = f"--help_all shows {len(hidden)} more options." if hidden else None
        self.print_help()


_REQUIRED = re.compile(r"arguments are required: (.+)")
_EXAMPLES = {"supernet": "runs/digits", "model": "resnet18", "folder": "subnet", "name": "ofa_resnet50"}
"""Values of arguments that can't be left out."""


class _HelpFormatter(DefaultHelpFormatter):
    """An option, what it means, and its default where that says something."""

    def _get_help_string(self, action: Action) -> str:
        text = action.help or ""
        says = action.option_strings and action.default not in (None, "", False, SUPPRESS)
        return f"{text} (default: %(default)s)" if says else text
