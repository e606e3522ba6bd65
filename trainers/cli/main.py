"""`elastic`: one program, a file for each of its commands."""

from __future__ import annotations

import argparse
import difflib
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from elastic.errors import ElasticError, UsageError
from elastic.support.packages import explain_missing

TRAINING = {
    "fit": "Train a supernet.",
    "validate": "Evaluate named subnets of a trained supernet on the validation images.",
    "test": "Evaluate named subnets of a trained supernet on the test images.",
}
ZOO = {"zoo": "Show the named supernets (list, info), import published weights, convert encodings."}
DEMO = {"demo": "Train on handwritten digits, profile, search, extract, export, and draw a report."}

FAILED, INTERRUPTED = 2, 130

# jsonargparse on a value that may be one of several types: the key, and what the first of them objects to
_NESTED = re.compile(r'(Parser key "[^"]+"):.*?Errors:\s*- (.*?)(?=\n\s*- Expected a <class|\Z)', re.DOTALL)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: the command line without the program's name; the process's own by default.

    Returns:
        The exit status: 0, 2 after an error, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in words or os.environ.get("ELASTIC_DEBUG", "") not in ("", "0")
    words = [word for word in words if word != "--debug"]
    try:
        _run(words)
    except KeyboardInterrupt:
        cure = ", and the training continues with --ckpt_path last" if words[:1] == ["fit"] else ""
        return _say(f"interrupted; files on disk are whole{cure}", INTERRUPTED)
    except ModuleNotFoundError as error:
        explained = explain_missing(error, " ".join(["elastic", *words[:1]]))
        if debug or explained is None:
            raise
        return _say(str(explained), FAILED)
    except (ElasticError, OSError, argparse.ArgumentError) as error:
        if debug:
            raise
        return _say(_sentence(error), FAILED)
    except SystemExit as end:  # --help and --print_config end this way
        return end.code if isinstance(end.code, int) else FAILED if end.code else 0
    return 0


def _run(words: list[str]) -> None:
    verb = words[0] if words else "--help"
    if verb in ("-h", "--help"):
        sys.stdout.write(_help(_commands()))
    elif verb == "--version":
        sys.stdout.write(f"elastic {version('elastic-supernets')}\n")
    elif verb in TRAINING:
        from trainers.fitting import train

        train(words)
    elif verb in ZOO:
        from jsonargparse import auto_cli

        from trainers.cli.zoo import COMMANDS

        auto_cli(dict(COMMANDS), args=words[1:], prog="elastic zoo", exit_on_error=False)
    elif verb in DEMO:
        from jsonargparse import auto_cli

        from trainers.cli.demo import demo

        auto_cli(demo, args=words[1:], prog="elastic demo", exit_on_error=False)
    else:
        from jsonargparse import auto_cli

        auto_cli(_command(verb), args=words[1:], prog=f"elastic {verb}", exit_on_error=False)


def _commands() -> Mapping[str, Callable[..., Any]]:
    from trainers.cli import attack as attacking
    from trainers.cli import export as exporting
    from trainers.cli import extract as deploy
    from trainers.cli import search as searching
    from trainers.cli.conformance import COMMANDS

    return {**COMMANDS, **searching.COMMANDS, **deploy.COMMANDS, **exporting.COMMANDS, **attacking.COMMANDS}


def _command(verb: str) -> Callable[..., Any]:
    commands = _commands()
    if verb not in commands:
        names = [*TRAINING, *commands, *ZOO, *DEMO]
        near = difflib.get_close_matches(verb, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        raise UsageError(f"no command {verb!r}; {hint}")
    return commands[verb]


def _help(commands: Mapping[str, Callable[..., Any]]) -> str:
    lines = dict(TRAINING)
    lines |= {verb: (inspect.getdoc(function) or "").split("\n")[0] for verb, function in commands.items()}
    lines |= ZOO | DEMO
    width = max(map(len, lines))
    listed = "\n".join(f"  {verb:{width}}  {line}" for verb, line in lines.items())
    return (
        "usage: elastic [--debug] COMMAND ...\n\n"
        "Train one network once, then cut out an ordinary PyTorch model for every device and every budget.\n\n"
        f"{listed}\n\n"
        "elastic COMMAND --help says what a command takes; --debug shows an error's traceback; elastic --version.\n"
    )


def _sentence(error: Exception) -> str:
    """One sentence for whoever doesn't read tracebacks."""
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}; files that were there before are whole"
    text = str(error) or type(error).__name__
    nested = _NESTED.match(text)
    if nested:
        text = f"{nested[1]}: {nested[2]}"
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _say(sentence: str, status: int) -> int:
    sys.stderr.write(f"elastic: {sentence}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
