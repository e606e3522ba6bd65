"""Text for people: numbers with units, names in lists, and the nearest matches of a misspelt word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from difflib import SequenceMatcher
from html import escape
from typing import Any


def short(number: float) -> str:
    """Three digits and a unit: 1234567 → `1.23M`."""
    return _in_units(number, 1e3, ("", "k", "M", "G", "T"))


def spell_bytes(number: float) -> str:
    """A number of bytes: 1536 → `1.5 KiB`."""
    if abs(number) < 2**10:
        return f"{number:g} B"
    return _in_units(number / 2**10, 2**10, (" KiB", " MiB", " GiB", " TiB"))


def _in_units(number: float, step: float, units: Sequence[str]) -> str:
    """Three digits in the first unit that leaves it below 1000, once it is rounded."""
    *smaller, largest = units
    for unit in smaller:
        digits = f"{number:.3g}"
        if not abs(float(digits)) >= 1000:
            return digits + unit
        number /= step
    return f"{number:.3g}{largest}"


def spell_count(number: int) -> str:
    """An exact count where it can be read, else its size: `22,113`, `2.2e+19`."""
    return f"{number:,}" if number < 10**9 else f"{Decimal(number):.1e}"


def spell_metric(name: str, value: Any) -> str:
    """A metric with the unit that its name says: `("latency_ms", 1.234)` → `1.23 ms`."""
    if isinstance(value, str):
        return value
    name = name.partition(".")[0]  # latency_ms.phone
    if name.endswith("_ms"):
        return f"{value:.3g} ms" if value < 1000 else f"{value:,.0f} ms"
    if name.endswith("_bytes"):
        return spell_bytes(value)
    if _is_percentage(name):
        return f"{value:.2f} %"
    if name in ("params", "macs"):
        return short(value)
    return f"{value:g}"


def spell_difference(name: str, value: float, of: float) -> str:
    """A metric's difference from another value `of` it: `+1.50 points` of an accuracy, `-3.0 %` of anything else."""
    if _is_percentage(name.partition(".")[0]):
        return f"{value - of:+.2f} points"
    return f"{(value / of - 1) * 100:+.1f} %" if of else f"off by {spell_metric(name, value)}"


def _is_percentage(name: str) -> bool:
    return "accuracy" in name or name == "robust"


def spell_name(name: str) -> str:
    """A metric's name without its unit: `memory_bytes` → `memory`, `latency_ms.phone` → `latency, phone`."""
    name, _, device = name.partition(".")
    plain = name.removesuffix("_ms").removesuffix("_bytes").replace("_", " ")
    plain = {"macs": "MACs", "params": "parameters", "robust": "robust accuracy"}.get(plain, plain)
    return f"{plain}, {device}" if device else plain


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A plain table for notebooks; all text is escaped."""

    def row(tag: str, cells: Iterable[str]) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    body = "".join(row("td", cells) for cells in rows)
    return f"<table><thead>{row('th', header)}</thead><tbody>{body}</tbody></table>"


def spell_names(names: Sequence[str]) -> str:
    """Names that differ in a number: `heads.0` to `heads.8` → `heads.0 … heads.8 (9)`.

    Up to four are listed, and so are the unbroken runs of more: `a.0, a.4 … a.9, b (8)`.
    """
    if len(names) <= _LISTED:
        return ", ".join(names)
    runs: list[list[str]] = []
    for name in names:
        if runs and _numbered(name, 0) == _numbered(runs[-1][-1], 1):
            runs[-1].append(name)
        else:
            runs.append([name])
    pieces = [f"{run[0]} … {run[-1]}" if run[2:] else ", ".join(run) for run in runs]
    if len(pieces) > _LISTED:
        pieces = [", ".join(pieces[: _LISTED - 1]) + " and others"]
    return f"{', '.join(pieces)} ({len(names)})"


_LISTED = 4
"""So many names, or runs of them, are written out."""


def _numbered(name: str, plus: int) -> tuple[str, ...]:
    """The name with each number's digits apart, the last number so much larger."""
    pieces = re.split(r"(\d+)", name)
    return (*pieces[:-2], str(int(pieces[-2]) + plus), pieces[-1]) if pieces[1:] else (name,)


def names_in(text: str) -> list[str]:
    """Split a comma-separated list of names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def pairs_in(text: str) -> dict[str, str]:
    """Parse pairs: `depth=1,2,width=0.5` gives `{"depth": "1,2", "width": "0.5"}`; {} for any other text."""
    pairs = [piece.strip().partition("=") for piece in re.split(r",(?=[^,=]+=)", text)]
    whole = all(name and equals and value for name, equals, value in pairs)
    return {name.strip(): value.strip() for name, _, value in pairs} if whole else {}


def nearest(word: str, names: Iterable[str], most: int = 3) -> list[str]:
    """The names that someone may have meant by `word`, best first; none where nothing is near.

    Case and punctuation don't count. A name that begins with the word, or contains it, is near (`Sandwich` is
    `SandwichSampler`), as is one that is spelt alike by `difflib`'s measure, or begins so (`Sandwhich`), or a short one
    with its letters in another order (`fti`).

    Args:
        word: what was typed.
        names: what there is.
        most: return so many at most.
    """
    typed = _plain(word)
    plain = {name: _plain(name) for name in names}
    if not typed:
        return []
    equal = [name for name, spelt in plain.items() if spelt == typed]
    longer = [name for name, spelt in plain.items() if len(typed) > 2 and typed in spelt]
    longer.sort(key=lambda name: (not plain[name].startswith(typed), len(name)))
    swapped = [name for name, spelt in plain.items() if len(spelt) < 5 and sorted(spelt) == sorted(typed)]
    alike = [*swapped, *_alike(typed, plain, most, 0.7)]
    if not alike and not longer:
        alike = _alike(typed, {name: spelt[: len(typed)] for name, spelt in plain.items()}, most, 0.8)
    return list(dict.fromkeys([*equal, *longer[: 1 if alike else most], *alike]))[:most]


def _alike(typed: str, plain: Mapping[str, str], most: int, cutoff: float) -> list[str]:
    """The names whose spelling in `plain` resembles what was typed, best first; of equals shorter ones first."""
    compared = SequenceMatcher(b=typed)
    near: list[tuple[float, str]] = []
    for name in sorted(plain, key=len):
        compared.set_seq1(plain[name])
        if min(compared.real_quick_ratio(), compared.quick_ratio()) >= cutoff and compared.ratio() >= cutoff:
            near.append((compared.ratio(), name))
    return [name for _, name in sorted(near, key=lambda one: -one[0])][:most]


def did_you_mean(word: str, names: Iterable[str] | Mapping[str, str], otherwise: str | None = None) -> str:
    """The part of a message that cures a misspelt word: `did you mean search?`, or which names there are.

    Args:
        word: what was typed.
        names: what there is; a mapping says for each word that may be typed which name to show.
        otherwise: what to say where nothing is near; which names there are by default.
    """
    shown = names if isinstance(names, Mapping) else {name: name for name in names}
    near = list(dict.fromkeys(shown[name] for name in nearest(word, shown)))
    if near:
        return f"did you mean {' or '.join([', '.join(near[:-1]), near[-1]] if near[1:] else near)}?"
    return otherwise if otherwise is not None else f"there are {', '.join(dict.fromkeys(shown.values()))}"


def _plain(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())
