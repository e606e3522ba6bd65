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
_FILE = re.compile(r"given class_path '([^']+\.ya?ml)'")
_KEY = re.compile(r'Parser key "([^"]+)"')
_TYPE = r"Expected (?:an? )?<class '\w+'>"
# of a value that may be one of several types, in a value that may be …: what the innermost may be, and what it is
_TYPES = re.compile(rf".*Errors:\s*((?:- {_TYPE}\s*)+)Given value type: [^\n]*\s*Given value: ([^\n]*)", re.DOTALL)
_EXPECTED = re.compile(r"Expected an? (?:<class '(\w+)'>|typing\.Literal\[(.*?)\])(?:\. Got value: (.*))?")
_TYPE_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "list": "a list such as [1, 2]",
    "dict": "a mapping such as {name: value}",
}


def with_near_matches(message: str, options: Iterable[str]) -> str:
    """A message of argparse's or jsonargparse's in short, with the nearest names where one doesn't exist.

    Args:
        message: the parser's.
        options: which options there are, as they are typed.
    """
    return _KEY.sub(r'"\1"', _cured(message, options)).replace(' in "<unicode string>", line', " at line")


def _cured(message: str, options: Iterable[str]) -> str:
    if found := _TYPES.match(message):
        names = [_TYPE_NAMES.get(name, name) for name in re.findall(r"'(\w+)'", found[1]) if name != "NoneType"]
        return f'Parser key "{".".join(_KEY.findall(found[0]))}": wanted {" or ".join(names)}, got {found[2]}'
    if found := _NESTED.match(message):
        message = f"{found[1]}: {found[2]}"
    if found := _OPTION.search(message):
        word = (found[1] or found[2]).partition("=")[0]
        if found[1] and not word.startswith("-"):
            return f"{message}; --help shows what there is"
        return f"{message}; {did_you_mean(word, options, '--help_all shows the options there are')}"
    if found := _ARGUMENT.search(message):
        arguments = _arguments(found[1].rpartition(".")[2])
        cure = did_you_mean(found[2], arguments, f"it has {', '.join(arguments)}")
        return f"{message}; {cure}"
    if found := _CLASS.search(message):
        key = message.partition(":")[0]
        cure = did_you_mean(found[1], _public(), "elastic fit --help_all lists them; images: elastic fit FOLDER")
        return f"{key}: no class {found[1]!r}; {cure}"
    if found := _FILE.search(message):
        return f"{message.partition(':')[0]}: {found[1]} is no class; a YAML file is given with --config {found[1]}"
    return _EXPECTED.sub(_in_words, message)


def _in_words(expected: re.Match[str]) -> str:
    """The possible values, or their type."""
    kind, literals, value = expected.groups()
    if kind is not None:
        return f"wanted {_TYPE_NAMES.get(kind, kind)}" + (f", got {value}" if value else "")
    names = [name.strip().strip("'") for name in literals.split(",")]
    wanted = f"wanted {' or '.join([', '.join(names[:-1]), names[-1]] if names[1:] else names)}"
    return wanted if value is None else f"{wanted}, got {value}"


def _public() -> list[str]:
    import trainers

    return dir(trainers)


def _arguments(name: str) -> list[str]:
    """Those of a public class of `trainers`, and of its bases, which it may hand on."""
    import trainers

    bases = inspect.getmro(getattr(trainers, name)) if name in dir(trainers) else ()
    named = [parameter for base in bases if base is not object for parameter in inspect.signature(base).parameters]
    return [name for name in dict.fromkeys(named) if name not in ("args", "kwargs")]
