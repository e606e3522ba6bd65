"""A journal: a header and what was found since, a line of JSON each, so that what is interrupted goes on from there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elastic.support.reading import UnreadableError, parse_json


class Journal:
    """Entries that are kept in a file as they come.

    Attributes:
        path: the file; None: entries are only kept in memory.
        entries: in the order in which they came.
    """

    def __init__(
        self, path: Path | None, header: Mapping[str, Any], error: type[BaseException], what: str, cure: str
    ) -> None:
        """Continue the file, or begin it; a last line that was cut short is cut off.

        Args:
            path: the file; None keeps everything in memory.
            header: what the entries belong to, as plain values; its `kind` tells such files from others.
            error: the class of the errors raised.
            what: such a file, for messages: "a search's cache".
            cure: what to do about one that belongs to something else.

        Raises:
            error: the file is something else, broken, or its header says something else.
        """
        self.path, self._error, self._what = path, error, what
        self.entries: list[dict[str, Any]] = []
        header = json.loads(json.dumps(header))
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole:
            self._read(whole.splitlines(), header, cure)
            if len(whole) < len(content):
                os.truncate(path, len(whole))
        elif _line(header).startswith(content):
            path.write_bytes(_line(header))
        else:
            raise self._foreign("it has no whole line")

    def _read(self, lines: Sequence[bytes], header: Mapping[str, Any], cure: str) -> None:
        before, *self.entries = (self._parsed(at, line) for at, line in enumerate(lines, 1))
        if before.get("kind") != header["kind"]:
            raise self._foreign(f"its kind is {before.get('kind')!r}")
        key = next((key for key in header if before.get(key) != header[key]), None)
        if key is not None:
            was, now = _short(before.get(key)), _short(header[key])
            raise self._error(f"{self.path} holds {self._what} with another {key}: {was}, now {now}; {cure}")

    def add(self, entry: dict[str, Any]) -> None:
        """Keep one more entry; it is on the disk when this returns."""
        self.entries.append(entry)
        if self.path is not None:
            with self.path.open("ab") as file:
                file.write(_line(entry))
                file.flush()
                os.fsync(file.fileno())

    def _parsed(self, at: int, line: bytes) -> dict[str, Any]:
        try:
            values = parse_json(line)
        except UnreadableError as error:
            raise self._foreign(f"line {at} isn't JSON ({error})") from error
        if not isinstance(values, dict):
            raise self._foreign(f"line {at} is a {type(values).__name__}, no JSON object")
        return values

    def _foreign(self, why: str) -> BaseException:
        return self._error(f"{self.path} isn't {self._what}: {why}; move it away, or name another file")


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 100 else f"{text[:100]}…"
