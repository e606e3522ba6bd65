"""Configuration files: the shipped ones by name, classes under former names, and errors that the parser misses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from elastic.errors import UsageError, first_line
from elastic.support.text import did_you_mean

_FLAGS = ("-c", "--config")

_FOLDERS = {
    "data": "digits glue image_data image_folder text timm_data",
    "methods": "adversary curriculum distillers hidden_states macs_samplers optimizers samplers teachers",
    "robust": "attacks",
    "steps": "conflicts",
}
FORMER_MODULES = {name: f"{folder}.{name}" for folder, names in _FOLDERS.items() for name in names.split()} | {
    "data": "data.supernet_data",
    "module": "supernet_module",
    "robust.training_attack": "methods.adversary",
    "robust_distillers": "robust.distillers",
    "robust_losses": "robust.losses",
    "robustness": "robust.accuracy",
    "steps": "steps.options",
    "steps.steps": "steps.options",
}
"""Modules of `trainers` that class paths in older configurations name, and where their classes are now."""

_FORMER_CLASS = re.compile(rf"(?<![\w.])trainers\.({'|'.join(map(re.escape, FORMER_MODULES))})\.(?=[A-Z])")
_BARE_CLASS = re.compile(r"""(class_path["']?\s*:\s*["']?)([A-Z]\w*)(?![\w.])""")


def current_paths(text: str) -> str:
    """A configuration or a word of a command line, with each class of `trainers` under the path that it has now.

    Without a path, jsonargparse doesn't find a class that is an argument of another class.
    """
    public = _public_names()
    text = _FORMER_CLASS.sub(lambda found: f"trainers.{FORMER_MODULES[found[1]]}.", text)
    return _BARE_CLASS.sub(lambda found: f"{found[1]}trainers.{found[2]}" if found[2] in public else found[0], text)


@cache
def _public_names() -> frozenset[str]:
    return frozenset(dir(import_module(__package__)))


def read_configuration(path: str | Path) -> Any:
    """The content of a YAML file, with each class under the module that it is in now.

    Raises:
        OSError: it can't be read.
        UsageError: it isn't YAML; the message names the file and the line.
    """
    try:
        text = Path(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} should hold text (UTF-8), and holds something else: {error}") from error
    return _parsed(text, str(path))


def _parsed(text: str, origin: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(current_paths(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        problem = getattr(error, "problem", None) or first_line(error)
        raise UsageError(f"{origin}{where}: {problem}; correct the YAML there") from error


def check_configuration(name: str) -> None:
    """Check that a value of --config, a file or YAML itself, is YAML, and says options.

    Raises:
        OSError: the file can't be read.
        UsageError: it isn't; the message names the file and the line.
    """
    if is_inline(name):
        values, origin = _parsed(name, "--config"), "--config"
    elif _is_file(Path(name)):
        values, origin = read_configuration(name), name
    else:
        return
    if not isinstance(values, Mapping):
        held = "nothing" if values is None else f"a {type(values).__name__}"
        raise UsageError(f"{origin} holds {held}, wanted options, each as name: value on a line")


def shipped_configurations() -> dict[str, Path]:
    """The YAML files that come with the package, by name."""
    paths = Path(str(files("trainers"))).joinpath("configs").glob("*.yaml")
    return {path.stem: path for path in sorted(paths)}


def find_configuration(name: str) -> str:
    """The path `name`, or else that of the shipped configuration of this name; YAML itself stays as it is.

    Raises:
        UsageError: there is neither.
    """
    if is_inline(name) or _is_there(Path(name)):
        return name
    shipped = shipped_configurations()
    if name.removesuffix(".yaml") in shipped:
        return str(shipped[name.removesuffix(".yaml")])
    if _is_folder(name):
        raise UsageError(f"{name} is a folder, wanted a YAML file; images are trained on with elastic fit {name}")
    cure = did_you_mean(name, list(shipped), f"give a YAML file, or a shipped one: {', '.join(shipped)}")
    raise UsageError(f"there is no configuration {name}; {cure}")


def is_inline(name: str) -> bool:
    """True for YAML itself, False for the name of a file."""
    return "\n" in name or name.lstrip().startswith("{")


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # longer than a name may be
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()  # a pipe can be read only once
    except OSError:  # longer than a name may be
        return False


def _is_there(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()  # it may be a pipe
    except OSError:  # longer than a name may be
        return False


def name_configurations(words: Sequence[str]) -> list[str]:
    """A command line with `find_configuration` of each value of --config, and `current_paths` of all words.

    Raises:
        UsageError: a configuration that isn't there, or isn't YAML.
    """
    found: list[str] = []
    for word in map(current_paths, words):
        flag, equals, value = word.partition("=")
        if found and found[-1] in _FLAGS:
            found.append(_found(word))
        elif flag in _FLAGS and equals:
            found.append(f"{flag}={_found(value)}")
        else:
            found.append(word)
    return found


def _found(name: str) -> str:
    path = find_configuration(name)
    check_configuration(path)
    return path


def refuse_ignored(given: Any, understood: Any, origin: str) -> None:
    """Check that no part of a configuration was passed over; jsonargparse does so with empty unknown mappings.

    Args:
        given: the file's content.
        understood: what it was parsed to: nested mappings or namespaces, and sequences of them.
        origin: the file's name.

    Raises:
        UsageError: a key that there is no such option for.
    """
    for key in _ignored(given, understood):
        raise UsageError(f"{origin}: {key!r} is empty, and there is no option of that name; correct or remove it")


def _ignored(given: Any, understood: Any, prefix: str = "") -> Iterator[str]:
    for key, value, inner, known in _pairs(given, understood):
        if not known and _is_empty(value):
            yield f"{prefix}{key}"
        elif known:
            yield from _ignored(value, inner, f"{prefix}{key}.")


def _pairs(given: Any, understood: Any) -> Iterable[tuple[Any, Any, Any, bool]]:
    if isinstance(given, list) and isinstance(understood, list):
        return [(k, *pair, True) for k, pair in enumerate(zip(given, understood, strict=False))]
    inner = understood if isinstance(understood, Mapping) else getattr(understood, "__dict__", None)
    if isinstance(given, Mapping) and inner is not None:
        return [(key, value, inner.get(key), key in inner) for key, value in given.items()]
    return []


def _is_empty(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_empty, value.values()))
