"""Dataclasses as JSON, and back, each value checked for its type."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from elastic.support.reading import read_json

T = TypeVar("T")


def to_plain(record: Any) -> Any:
    """A dataclass as JSON has it: dicts, sequences, strings and Python's own numbers."""
    return msgspec.to_builtins(record, enc_hook=_plain)


def _plain(one: Any) -> Any:
    if isinstance(one, Mapping):
        return dict(one)
    return str(one) if isinstance(one, str) else one.item()  # torch.__version__ is a kind of text


def from_plain(values: Any, cls: type[T]) -> T:
    """The dataclass that `to_plain` wrote. Keys that it has no field for are ignored.

    Raises:
        ValueError: a field is missing, or a value is of another type; the message says where.
    """
    return msgspec.convert(values, cls, dec_hook=lambda wanted, value: wanted(value))


def read_record(
    path: str | Path,
    cls: type[T],
    name: str,
    command: str,
    error: type[Exception],
    renamed: Mapping[str, str] | None = None,
) -> T:
    """The dataclass in a JSON file whose `kind` is "elastic NAME".

    Args:
        path: the file.
        cls: the dataclass.
        name: what the file is, for messages: "device profile".
        command: what writes such a file, for messages.
        error: the class of the errors raised.
        renamed: keys of older files, at any depth, and what they are called now.

    Raises:
        error: a file that is missing, truncated or something else.
    """
    values = read_json(path, error, f"a {name} ({command} writes one)")
    kind, wanted = values.get("kind"), f"elastic {name}"
    if kind != wanted:
        raise error(f"{path} isn't a {name}: its kind is {kind!r}, wanted {wanted!r}")
    try:
        return from_plain(_renamed(values, renamed) if renamed else values, cls)
    except ValueError as broken:
        raise error(f"{path} is a broken {name} ({broken}); make it again with {command}") from broken


def _renamed(values: Any, names: Mapping[str, str]) -> Any:
    if isinstance(values, dict):
        return {names.get(key, key): _renamed(value, names) for key, value in values.items()}
    return [_renamed(one, names) for one in values] if isinstance(values, list) else values
