"""Configuration files: the shipped ones by name, and errors that the parser misses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from elastic.errors import UsageError
from elastic.support.reading import UnreadableError, parse_yaml, read_content
from elastic.support.text import did_you_mean
from trainers.class_paths import current_paths, refuse_hidden_classes

_FLAGS = ("-c", "--config")


def read_configuration(path: str | Path) -> Any:
    """The content of a YAML file, with each class under the module that it is in now.

    Raises:
        OSError: it can't be read.
        UsageError: there is no such file, it isn't YAML, or names a class where plain data is wanted; the message
            says where.
    """
    content = read_content(path, "YAML", UsageError, "a configuration")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} should hold text (UTF-8), and holds something else: {error}") from error
    return parse_configuration(text, str(path))


def parse_configuration(text: str, origin: str) -> Any:
    """The content of YAML, with each class under the module that it is in now.

    Args:
        text: the YAML.
        origin: where it is from, for messages.

    Raises:
        UsageError: it isn't YAML, or names a class where plain data is wanted; the message says where.
    """
    try:
        values = parse_yaml(current_paths(text))
    except UnreadableError as error:
        where = "," if str(error).startswith("line ") else ":"
        raise UsageError(f"{origin}{where} {error}; correct the YAML there") from error
    refuse_hidden_classes(values, origin)
    return values


def check_configuration(name: str) -> None:
    """Check that a value of --config, a file or YAML itself, is YAML, and says options.

    Raises:
        OSError: the file can't be read.
        UsageError: it isn't; the message names the file and the line.
    """
    if is_inline(name):
        values, origin = parse_configuration(name, "--config"), "--config"
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
