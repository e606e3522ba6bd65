"""An arch: one value per dim, immutable; it identifies a subnet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from elastic.errors import ArchError
from elastic.space.sizes import Number
from elastic.support.reading import UnreadableError, parse_json
from elastic.support.text import html_table

_FEW = 8
_MANY = 24


class Arch(Mapping[str, Number]):
    """A subnet's description: dim → value, immutable, hashable and JSON-serialisable.

    It is canonical when a `SearchSpace` made it: dims of blocks that the depth leaves out are absent, so that
    equal subnets are equal keys.
    """

    __slots__ = ("_hash", "_values")

    def __init__(self, values: Mapping[str, Number]) -> None:
        self._values = dict(values)
        self._hash = hash(frozenset(self._values.items()))

    def __getitem__(self, dim: str) -> Number:
        return self._values[dim]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[Arch], tuple[dict[str, Number]]]:
        """Made anew from its values: hashes of strings are other ones in another process."""
        return Arch, (self._values,)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Arch):
            return self._values == other._values
        return self._values == other if isinstance(other, dict) else NotImplemented

    def __repr__(self) -> str:
        """All of a few dims; of many the first ones and the last, with the id."""
        shown = [f"{dim}={value}" for dim, value in self._values.items()]
        if len(shown) <= _FEW:
            return f"Arch({', '.join(shown)})"
        return f"Arch({self.id}: {', '.join(shown[: _FEW - 2])}, …, {shown[-1]}; {len(shown)} dims)"

    def _repr_html_(self) -> str:
        """The values as a table, for notebooks; of many the first ones and the last."""
        rows = [(dim, f"{value:g}") for dim, value in self._values.items()]
        if len(rows) > _MANY:
            rows = [*rows[: _MANY - 2], ("…", f"{len(rows)} dims"), rows[-1]]
        return html_table(["dim", self.id], rows)

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that name this arch in file names and tables."""
        return hashlib.blake2b(json.dumps(self._values, sort_keys=True).encode(), digest_size=4).hexdigest()

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self._values)

    @classmethod
    def from_json(cls, text: str) -> Arch:
        """The arch that `to_json` wrote; check it with `space.arch(...)` before use.

        Raises:
            ArchError: the text isn't a JSON object of numbers.
        """
        try:
            values: Any = parse_json(text)
        except UnreadableError as error:
            raise ArchError(f'not an arch: {error}; wanted a JSON object such as {{"depth": 3}}') from error
        numbers = isinstance(values, dict) and all(
            isinstance(v, (int, float)) and not isinstance(v, bool) for v in values.values()
        )
        if not numbers:
            raise ArchError(f"not an arch: wanted a JSON object of numbers, got {text[:80]!r}")
        return cls(values)
