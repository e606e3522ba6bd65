"""JSON and YAML from files of anybody's: read within limits, and refused in one sentence.

Depth, size and numbers are limited, so that a hostile or broken file costs neither much time nor much memory, and
whoever walks through what was read needs no limits of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from elastic.errors import first_line

DEEPEST = 100
"""Lists and mappings within each other."""
MOST_BYTES = {"JSON": 1 << 28, "YAML": 1 << 22}
"""Of one file."""
MOST_DIGITS = 300
"""Of a whole number; larger ones aren't finite as floats."""
MOST_VALUES = 1 << 20
"""Of a YAML file whose aliases are written out."""


class UnreadableError(ValueError):
    """Text that isn't JSON or YAML, or is beyond the limits; the message says where and why."""


def parse_json(text: str | bytes) -> Any:
    """The value that JSON text says; it may be NaN or infinite, as Python writes them.

    Raises:
        UnreadableError: not JSON, or beyond the limits.
    """
    try:
        values = json.loads(text, parse_int=_whole)
    except RecursionError as error:
        raise UnreadableError(f"it nests values more than {DEEPEST} deep") from error
    except UnreadableError:
        raise
    except ValueError as error:  # UnicodeDecodeError among them
        raise UnreadableError(str(error)) from error
    _check_shape(values, math.inf)
    return values


def parse_yaml(text: str) -> Any:
    """The value that YAML text says; mappings, sequences and plain values only.

    Raises:
        UnreadableError: not YAML, or beyond the limits; the message begins with the line and column, where known.
    """
    import yaml

    try:
        _check_events(yaml.parse(text, Loader=yaml.SafeLoader))
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise UnreadableError(where + str(getattr(error, "problem", None) or first_line(error))) from error
    except UnreadableError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        # a date that doesn't exist, a number of 5,000 digits, a tag without its value
        raise UnreadableError(first_line(error)) from error
    _check_shape(values, MOST_VALUES)
    return values


def _check_events(events: Iterable[Any]) -> None:
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith(("SequenceStartEvent", "MappingStartEvent"))
        depth -= kind.endswith(("SequenceEndEvent", "MappingEndEvent"))
        if depth > DEEPEST:
            raise UnreadableError(f"line {event.start_mark.line + 1}: it nests values more than {DEEPEST} deep")


def _check_shape(values: Any, most: float) -> None:
    """Check depth, and the number of values that there are where each is written out; a value may contain itself."""
    sizes: dict[int, tuple[int, int]] = {}
    pending = [(values, False)]
    within: set[int] = set()
    while pending:
        value, done = pending.pop()
        if not isinstance(value, (dict, list)) or (not done and id(value) in sizes):
            continue
        inner: Iterable[Any] = [*value, *value.values()] if isinstance(value, dict) else value
        if not done:
            if id(value) in within:
                raise UnreadableError("a value contains itself")
            within.add(id(value))
            pending += [(value, True), *((one, False) for one in inner if isinstance(one, (dict, list)))]
            continue
        within.discard(id(value))
        found = [sizes[id(one)] for one in inner if isinstance(one, (dict, list))]
        size, depth = len(value) + sum(one[0] for one in found), 1 + max((one[1] for one in found), default=0)
        if depth > DEEPEST:
            raise UnreadableError(f"it nests values more than {DEEPEST} deep")
        if size > most:
            raise UnreadableError(f"it has more than {most:,} values, once aliases are written out")
        sizes[id(value)] = size, depth


def _whole(word: str) -> int:
    if len(word) > MOST_DIGITS:
        raise UnreadableError(f"a number of {len(word):,} digits")
    return int(word)


def read_content(path: str | Path, kind: str, error: type[Exception], wanted: str) -> bytes:
    """A file's bytes, where there aren't too many.

    Args:
        path: the file.
        kind: JSON or YAML.
        error: the class of the errors raised.
        wanted: what the file should be, for the message.

    Raises:
        error: no such file, a folder, or a file that is too large.
        OSError: it may not be read.
    """
    most = MOST_BYTES[kind]
    try:
        with Path(path).open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError as missing:
        raise error(f"{path} doesn't exist; wanted {wanted}") from missing
    except (IsADirectoryError, NotADirectoryError) as other:
        what = f"{path} is a folder" if Path(path).is_dir() else f"{Path(path).parent} is a file, not a folder"
        raise error(f"{what}; wanted {wanted}") from other
    except ValueError as other:  # a name with a null character
        raise error(f"{str(path)!r} is no file's name; wanted {wanted}") from other
    if len(content) > most:
        raise error(f"{path} isn't {wanted}: it is larger than {most >> 20} MiB")
    return content


def read_json(path: str | Path, error: type[Exception], wanted: str) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: the file.
        error: the class of the errors raised.
        wanted: what the file should be, for the message: "a device profile".

    Raises:
        error: no such file, not JSON, not an object, or beyond the limits.
        OSError: it may not be read.
    """
    try:
        values = parse_json(read_content(path, "JSON", error, wanted).decode("utf-8"))
    except (UnreadableError, UnicodeDecodeError) as broken:
        raise error(f"{path} isn't {wanted}: {broken}; it may be truncated, make it again") from broken
    return _mapping(values, path, error, wanted, "a JSON object")


def read_yaml(path: str | Path, error: type[Exception], wanted: str) -> dict[str, Any]:
    """The mapping in a YAML file; arguments and errors as for `read_json`."""
    try:
        values = parse_yaml(read_content(path, "YAML", error, wanted).decode("utf-8"))
    except (UnreadableError, UnicodeDecodeError) as broken:
        raise error(f"{path} isn't {wanted}: {broken}; it may be truncated") from broken
    return _mapping(values, path, error, wanted, "a mapping")


def _mapping(values: Any, path: str | Path, error: type[Exception], wanted: str, kind: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise error(f"{path} isn't {wanted}: it holds a {type(values).__name__}, not {kind}")
    return dict(values)
