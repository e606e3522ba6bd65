"""The layout notation: text in, checked structure out.

    "blocks.{i}.attn.qkv": "(3 heads.{i} 64) embed"

The left side names tensors, modules or plain numbers of a model; `{i}` stands for any one path component. A
trailing `?` says that a model may lack the entry. The right side has one axis per tensor axis:

    embed        a named size
    768          a length that never changes (and must be 768)
    _            any length, which never changes
    (3 heads 64) an axis made of factors, outermost first, as in einops
    ...          all the remaining axes, unchanged

A name may hold placeholders of the left side, also with an offset: `width.{s-1}` is the stage before. A recipe that
writes the entries of one block after the other fills placeholders of its own in the same way (see `fill`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from elastic.errors import LayoutError

ANY = "_"
_AXIS = re.compile(r"\(([^()]*)\)|(\.\.\.)|([^\s()]+)")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.([A-Za-z0-9_]+|\{\w+([+-]\d+)?\}))*\Z")
_PLACEHOLDER = re.compile(r"\{(\w+)([+-]\d+)?\}")

Factor = int | str
"""A fixed length, the name of a size, or `_`."""


@dataclass(frozen=True)
class AxesText:
    """A parsed right side: a tuple of factors per axis, and whether it ended in `...`."""

    axes: tuple[tuple[Factor, ...], ...]
    open_ended: bool


@lru_cache(maxsize=4096)
def parse_axes(text: str, entry: str) -> AxesText:
    """Parse the right side of `entry`.

    Raises:
        LayoutError: the text isn't in the notation; the message names the entry and the offending part.
    """
    axes: list[tuple[Factor, ...]] = []
    open_ended, end = False, 0
    for found in _AXIS.finditer(text):
        if text[end : found.start()].strip() or open_ended:
            raise _unreadable(entry, text, text[end:] if not open_ended else "something after ...")
        end = found.end()
        group, dots, single = found.groups()
        if dots:
            open_ended = True
            continue
        words = group.split() if group is not None else [single]
        if not words:
            raise _unreadable(entry, text, "()")
        axes.append(tuple(_factor(word, entry, text) for word in words))
    if text[end:].strip() or not (axes or open_ended):
        raise _unreadable(entry, text, text[end:] or "nothing")
    return AxesText(tuple(axes), open_ended)


def _factor(word: str, entry: str, text: str) -> Factor:
    if word == ANY:
        return ANY
    if word.isdecimal() and int(word) > 0:
        return int(word)
    if not _NAME.match(word):
        raise _unreadable(entry, text, word)
    return word


def _unreadable(entry: str, text: str, part: str) -> LayoutError:
    return LayoutError(
        f"layout entry {entry!r}: can't read {part.strip()!r} in {text!r}; an axis is a name, a length, _, "
        "a group of them such as (3 heads 64), or ... at the end"
    )


def fill(name: str, captured: Mapping[str, str], entry: str) -> str:
    """Replace the placeholders in a name, or in a whole right side: `width.{s-1}` → `width.1`.

    Args:
        name: the text.
        captured: placeholder → replacement: a path component of the left side, or what a recipe has for the block.
        entry: the layout entry, for messages.

    Raises:
        LayoutError: a placeholder that the left side doesn't have, or an offset to something not a number.
    """

    def value(found: re.Match[str]) -> str:
        key, offset = found.groups()
        if key not in captured:
            raise LayoutError(
                f"layout entry {entry!r}: {name!r} uses {{{key}}}, which its left side doesn't have; "
                f"it has {sorted(captured) or 'no placeholder'}"
            )
        if offset is None:
            return captured[key]
        if not captured[key].isdecimal():
            raise LayoutError(f"layout entry {entry!r}: {name!r} needs a number for {{{key}}}, got {captured[key]!r}")
        return str(int(captured[key]) + int(offset))

    return _PLACEHOLDER.sub(value, name)


@lru_cache(maxsize=4096)
def _pattern(path: str) -> re.Pattern[str]:
    pieces, end, seen = [], 0, set()
    for found in _PLACEHOLDER.finditer(path):
        key = found.group(1)
        pieces.append(re.escape(path[end : found.start()]))
        pieces.append(f"(?P={key})" if key in seen else f"(?P<{key}>[^.]+)")
        seen.add(key)
        end = found.end()
    pieces.append(re.escape(path[end:]))
    return re.compile("".join(pieces) + r"\Z")


def match_paths(path: str, candidates: Collection[str]) -> list[tuple[str, dict[str, str]]]:
    """The candidates that match a left side (without its `?`), each with the values of the placeholders."""
    if "{" not in path:
        return [(path, {})] if path in candidates else []
    pattern = _pattern(path)
    return [(name, found.groupdict()) for name in candidates if (found := pattern.match(name))]


def count_placeholders(path: str) -> int:
    """Number of placeholders in a left side; if several entries match, the one with the fewest wins."""
    return len(_PLACEHOLDER.findall(path))
