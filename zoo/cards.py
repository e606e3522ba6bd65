"""Cards of zoo entries, in Markdown: description, source, license and results."""

from __future__ import annotations

from collections.abc import Sequence

from elastic.support.text import short, spell_count
from zoo.catalog import find
from zoo.entry import Weights, ZooEntry


def card(name: str) -> str:
    """The card of a named supernet, in Markdown.

    Args:
        name: one of `zoo.list()`.

    Raises:
        RecipeError: no supernet of this name.
    """
    entry = find(name)
    sizes = entry.sizes
    each = ", each at several resolutions" if len(entry.resolutions) > 1 else ""
    rows = {
        "family": entry.family,
        "subnets": f"{spell_count(sizes.subnets)}{each} (counted)",
        "parameters": f"{short(sizes.params[0])} to {short(sizes.params[1])} (counted)",
        "MACs": f"{short(sizes.macs[0])} to {short(sizes.macs[1])} (counted)",
        "inputs": _inputs(entry),
        "pretrained": spell_weights(entry.weights),
        "trained by": f"`{entry.training}`",
        "license": entry.license,
        "paper": entry.paper,
        "source": entry.source,
    }
    lines = [f"# {entry.name}", "", *_table(("", ""), list(rows.items()))]
    if entry.results:
        results = [(one.subject, one.value, one.origin) for one in entry.results]
        lines += ["", *_table(("result", "", "origin"), results)]
    lines += ["", *_use(entry)]
    return "\n".join([*lines, "", entry.notes] if entry.notes else lines) + "\n"


def _inputs(entry: ZooEntry) -> str:
    images = entry.images
    if images is None:
        return f"text, in the pieces of `{entry.vocabulary}` (a BERT tokenizer's, lower case)"
    plain = not any(images.mean) and set(images.std) == {1}
    scaled = ", as they are" if plain else f", minus {_spell(images.mean)}, over {_spell(images.std)}"
    return (
        f"images resized to side / {images.crop_pct:g} ({images.interpolation}), centre cut out; values between 0 "
        f"and 1{scaled}"
    )


def spell_weights(weights: Weights | None) -> str:
    """The place of pretrained weights, and how they are checked."""
    if weights is None:
        return "none yet"
    checked = f"SHA-256 {weights.sha256[:12]}…" if weights.sha256 else "SHA-256 not known: keys and shapes are checked"
    return f"{'in the package' if weights.shipped else weights.place} ({checked})"


def _use(entry: ZooEntry) -> list[str]:
    call = f'zoo.{"create" if entry.weights is None else "load"}("{entry.name}")'
    return ["```python", "import zoo", "", f"supernet = {call}", "```"]


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (titles, ("---",) * len(titles), *rows)]


def _spell(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
