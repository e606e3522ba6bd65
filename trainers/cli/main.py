"""`elastic`: one program; `commands.py` has the table of its commands, and each has a file of its own."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from elastic.errors import ElasticError, StoppedError, UsageError
from elastic.support.packages import explain_missing
from trainers.cli.commands import COMMANDS, find_command, subcommands

FAILED, INTERRUPTED, TERMINATED = 2, 130, 143

_HELP = ("-h", "--help", "--help_all")


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: the command line without the program's name; the process's own by default.

    Returns:
        The exit status: 0, 2 after an error, 130 after Ctrl-C, 143 after SIGTERM during a training.
    """
    words = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in words or os.environ.get("ELASTIC_DEBUG", "") not in ("", "0")
    words = [word for word in words if word != "--debug"]
    try:
        run_command(words)
    except KeyboardInterrupt:
        cure = ", and the training continues with --ckpt_path last" if words[:1] == ["fit"] else ""
        return _say(f"interrupted; files on disk are whole{cure}", INTERRUPTED)
    except ModuleNotFoundError as error:
        explained = explain_missing(error, " ".join(["elastic", *words[:1]]))
        if debug or explained is None:
            raise
        return _say(str(explained), FAILED)
    except StoppedError as stopped:
        return _say(str(stopped), TERMINATED)
    except (ElasticError, OSError, UnicodeDecodeError, argparse.ArgumentError) as error:
        if debug:
            raise
        return _say(_sentence(error), FAILED)
    except SystemExit as end:  # --help and --print_config end this way
        return end.code if isinstance(end.code, int) else FAILED if end.code else 0
    return 0


def run_command(words: list[str]) -> None:
    """Run one command, and raise what goes wrong.

    Args:
        words: the command line without the program's name.

    Raises:
        ElasticError: the command can't do what was asked for.
    """
    if words[:1] == ["help"]:  # elastic help search
        words = [*words[1:], "--help"]
    if not words or words[0] in _HELP:
        sys.stdout.write(_help())
        return
    if words[0] == "--version":
        sys.stdout.write(f"elastic {version('elastic-supernets')}\n")
        return
    name, left = find_command(words)
    if name not in COMMANDS:
        _show_group(name, left)
    elif COMMANDS[name].own_parser:
        COMMANDS[name].function(left)
    else:
        from trainers.cli.parser import run

        run(name, left)


def _help() -> str:
    return (
        "usage: elastic [--debug] COMMAND ...\n\n"
        "Train one network once, then cut out an ordinary PyTorch model for every device and every budget.\n\n"
        f"{_listed(COMMANDS)}\n"
        "elastic COMMAND --help explains a command, --help_all all of its options; --debug shows an error's\n"
        "traceback; elastic --version; elastic completion --help says how the shell completes all this.\n"
    )


def _show_group(group: str, words: list[str]) -> None:
    """Show the help of a group of commands, such as `elastic zoo --help`.

    Raises:
        UsageError: nothing but the group's name was given.
    """
    below = subcommands(group)
    if not words:
        raise UsageError(f"elastic {group} needs a command: {', '.join(name.split()[1] for name in below)}")
    sys.stdout.write(f"usage: elastic {group} COMMAND ...\n\n{_listed(below)}")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    width = max(map(len, names))
    return "".join(f"  {name:{width}}  {COMMANDS[name].summary}\n" for name in names)


def _sentence(error: Exception) -> str:
    """One sentence for whoever doesn't read tracebacks."""
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}; files that were there before are whole"
    if isinstance(error, UnicodeDecodeError):
        return f"a file that should hold text holds something else: {error}"
    text = str(error) or type(error).__name__
    if "Original Traceback" in text:  # of a process that prepares images
        text = text.splitlines()[-1].partition(": ")[2]
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _say(sentence: str, status: int) -> int:
    sys.stderr.write(f"elastic: {sentence}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
