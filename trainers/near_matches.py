"""Near matches for what a parser doesn't know: it says which option or class that is, but not what was meant."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

from elastic.support.text import did_you_mean

# jsonargparse on a value that may be one of several types: the key, and what the first of them objects to
_NESTED = re.compile(r'(Parser key "[^"]+"):.*?Errors:\s*- (.*?)(?=\n\s*- Expected a <class|\Z)', re.DOTALL)
_OPTION = re.compile(r"[Uu]nrecognized arguments: (\S+)|does not accept option '([^']+)'")
_ARGUMENT = re.compile(r"given class_path '([^']+)'.*Option '([^']+)' is not accepted", re.DOTALL)
_CLASS = re.compile(r"Expected a dot import path string: (\S+)")


def with_near_matches(message: str, options: Iterable[str]) -> str:
    """A message of argparse's or jsonargparse's in short, with the nearest names where one doesn't exist.

    Args:
        message: the parser's.
        options: which options there are, as they are typed.
    """
    if found := _NESTED.match(message):
        message = f"{found[1]}: {found[2]}"
    if found := _OPTION.search(message):
        word = (found[1] or found[2]).partition("=")[0]
        return f"{message}; {did_you_mean(word, options, '--help_all shows the options there are')}"
    if found := _ARGUMENT.search(message):
        arguments = _arguments(found[1].rpartition(".")[2])
        cure = did_you_mean(found[2], arguments, f"it has {', '.join(arguments)}")
        return f"{message}; {cure}"
    if found := _CLASS.search(message):
        key = message.partition(":")[0]
        return f"{key}: no class {found[1]!r}; {did_you_mean(found[1], _public(), 'elastic fit --help_all lists them')}"
    return message


def _public() -> list[str]:
    import trainers

    return dir(trainers)


def _arguments(name: str) -> list[str]:
    """Those of a public class of `trainers`, and of its bases, which it may hand on."""
    import trainers

    bases = inspect.getmro(getattr(trainers, name)) if name in dir(trainers) else ()
    named = [parameter for base in bases if base is not object for parameter in inspect.signature(base).parameters]
    return [name for name in dict.fromkeys(named) if name not in ("args", "kwargs")]
