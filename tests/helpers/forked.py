"""Runs `elastic`, or a program, in a process of its own that has imported everything already: forked off a server.

Most commands in these tests do little, and would spend seconds on importing torch and Lightning.
"""

import multiprocessing
import os
import pkgutil
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

_PROJECT = ("elastic", "trainers", "zoo")
_PRELOADED = (
    "trainers.cli.main",
    "trainers.lightning_cli",
    "trainers.jobs.search",
    "trainers.robust.examiner",
)


def run_elastic(
    words: list[str], directory: Path, kill: tuple[str, int] | None = None, seconds: float | None = None
) -> tuple[int, str]:
    """Runs `elastic WORDS` in a directory.

    Args:
        words: behind `elastic`.
        directory: where; a file beside it keeps what is printed.
        kill: the path of a function, and at which of its calls to kill the process.
        seconds: when to kill it, where it hasn't ended.

    Returns:
        The exit status, and what was printed.
    """
    log = directory.with_name(f"{directory.name}-printed.txt")
    usual = multiprocessing.get_start_method()
    given = {"words": words, "directory": str(directory), "log": str(log), "kill": kill, "usual": usual}
    status = _run("__forked__", given, seconds)
    return status, log.read_text("utf-8") if log.exists() else ""


def killed(words: list[str], function: str, call: int) -> None:
    """Runs `elastic WORDS` in this directory, in a process that is killed at the nth call of a function."""
    status, printed = run_elastic(words, Path.cwd(), (function, call))
    assert status == -signal.SIGKILL, printed


def run_program(program: str, *words: str, alone: bool = False, ends: int = 0) -> None:
    """Runs a program's text, as `python -c PROGRAM WORDS` does.

    Args:
        program: the text.
        words: behind it.
        alone: this project can't be imported, as where it isn't installed.
        ends: with this exit status.
    """
    status = _run("__forked_program__", {"program": program, "words": list(words), "alone": alone})
    assert status == ends, f"status {status}; what it said is on standard error"


def _run(name: str, given: dict[str, Any], seconds: float | None = None) -> int:
    """The exit status of this file, run under a name in a forked process with these globals, for so long at most."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    process = context.Process(target=runpy.run_path, args=(__file__, given, name))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _program(program: str, words: list[str], alone: bool) -> None:
    import torch

    torch.set_num_threads(1)
    if alone:
        for name in [name for name in sys.modules if name.partition(".")[0] in _PROJECT]:
            del sys.modules[name]
        sys.modules.update(dict.fromkeys(_PROJECT))  # type: ignore[arg-type]  # None: it can't be imported
    sys.argv[:] = ["-c", *words]
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})


def _main(words: list[str], directory: str, log: str, kill: tuple[str, int] | None, usual: str) -> None:
    import torch

    from trainers.cli.main import main

    os.chdir(directory)
    with Path(log).open("wb") as file, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    multiprocessing.set_start_method(usual, force=True)  # for workers of its own, whatever it was started by itself
    torch.set_num_threads(1)  # as in the tests' own process: sums depend on it
    if kill is not None:
        _kill_at(*kill)
    sys.exit(main(words))


def _kill_at(function: str, last: int) -> None:
    path, _, name = function.rpartition(".")
    owner, calls = pkgutil.resolve_name(path), []
    original = getattr(owner, name)

    def counted(*args):
        calls.append(args)
        if len(calls) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)

    setattr(owner, name, counted)


if __name__ == "__forked_program__":
    _program(**{name: globals()[name] for name in ("program", "words", "alone")})
if __name__ == "__forked__":
    _main(**{name: globals()[name] for name in ("words", "directory", "log", "kill", "usual")})
