"""The report: one HTML page that works offline, with the front, what became of it, and the chosen subnets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from elastic.reporting.charts import Curves, Pairs, draw_agreement, draw_curves, draw_front, draw_history, to_html
from elastic.reporting.drawing import draw_subnet
from elastic.searching.result import Candidate, SearchResult
from elastic.supernet.supernet import Supernet
from elastic.support.files import write_text
from elastic.support.text import spell_figure, spell_name

_DRAWN = 8
"""So many subnets are drawn, at most."""

_PIECES = ("title", "notes", "summary", "front_notes", "front", "table", "trust", "curves", "subnets", "steps")
"""What the template has places for, beside plotly."""


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Attributes:
        title: the headline.
        supernet: whose subnets; gives the drawings.
        result: the search's result.
        summary: the figures on top, name → text.
        steps: what was done, in order: (what, its command or file).
        curves: training curves, from `read_curves`.
        marks: more subnets for the front: name → candidate.
        agreement: by a figure's name, and by the title of a set of subnets: what was predicted, what was measured.
        notes: how it was measured, in a sentence or two.
        front_notes: how far the front's figures can be trusted, likewise.
    """

    title: str
    supernet: Supernet
    result: SearchResult
    summary: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[tuple[str, str]] = ()
    curves: Curves = field(default_factory=dict)
    marks: Mapping[str, Candidate] = field(default_factory=dict)
    agreement: Mapping[str, Pairs] = field(default_factory=dict)
    notes: str = ""
    front_notes: str = ""


def write_report(report: Report, path: str | Path) -> Path:
    """Write the page, whole or not at all; it needs no other file and no network."""
    return write_page(
        path,
        title=escape(report.title),
        summary="".join(tile(name, text) for name, text in report.summary.items()),
        notes=escape(report.notes),
        front_notes=f"<p>{escape(report.front_notes)}</p>" if report.front_notes else "",
        front=to_html(draw_front(report.result, report.marks)),
        table=_table(report.result),
        trust=_trust(report),
        curves=_section("Training", [to_html(figure) for figure in draw_curves(report.curves)]),
        subnets="".join(_drawn(report, one) for one in _chosen(report.result)),
        steps=list_steps(report.steps),
    )


def write_page(path: str | Path, **pieces: str) -> Path:
    """Fill the report's template, and write it, whole or not at all.

    Args:
        path: the HTML file.
        pieces: HTML by the template's names, those in `_PIECES`; what is left out stays empty.
    """
    from plotly.offline import get_plotlyjs

    template = Template(files("elastic.reporting").joinpath("report.html").read_text("utf-8"))
    empty = dict.fromkeys(_PIECES, "")
    return write_text(path, template.substitute({**empty, "plotly": get_plotlyjs(), **pieces}))


def tile(name: str, text: str) -> str:
    """A figure for the top of a page."""
    return f'<div class="tile"><span>{escape(name)}</span><b>{escape(text)}</b></div>'


def list_steps(steps: Sequence[tuple[str, str]]) -> str:
    """What was done, in order: (what, its command or file)."""
    return "".join(f"<li><span>{escape(what)}</span><code>{escape(how)}</code></li>" for what, how in steps)


def write_csv(result: SearchResult, path: str | Path) -> Path:
    """Write all candidates as a table: id, whether on the front, figures, those measured again, and every dim."""
    figures = list(dict.fromkeys(name for one in result.candidates for name in one.figures))
    measured = list(dict.fromkeys(name for one in result.candidates for name in one.measured))
    dims = list(dict.fromkeys(name for one in result.candidates for name in one.arch))
    front = {one.arch for one in result.front}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["arch", "front", *figures, *(f"measured {name}" for name in measured), *dims])
    for one in result.candidates:
        values = [*(one.figures.get(name, "") for name in figures), *(one.measured.get(name, "") for name in measured)]
        table.writerow([one.arch.id, int(one.arch in front), *values, *(one.arch.get(name, "") for name in dims)])
    return write_text(path, text.getvalue())


def read_curves(path: str | Path) -> Curves:
    """The curves of a CSV log such as Lightning's: one column `step`, the others are curves with gaps."""
    curves: Curves = {}
    with Path(path).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if name not in ("step", "epoch") and value:
                    steps, values = curves.setdefault(name, ([], []))
                    steps.append(float(row["step"]))
                    values.append(float(value))
    return curves


# --- text ---------------------------------------------------------------------------------------------------


def _section(title: str, figures: Sequence[str]) -> str:
    if not figures:
        return ""
    return f'<section><h2>{escape(title)}</h2><div class="pair">{"".join(figures)}</div></section>'


def _trust(report: Report) -> str:
    """Predicted against measured, and how the search went on."""
    figures = [to_html(draw_agreement(pairs, name)) for name, pairs in report.agreement.items() if pairs]
    if len(report.result.history) > 1:
        figures.append(to_html(draw_history(report.result)))
    titles = (["Predicted against measured"] if report.agreement else []) + ["how the search went on"]
    title = ", and ".join(titles)
    return _section(title[:1].upper() + title[1:], figures)


def _chosen(result: SearchResult) -> list[Candidate]:
    """The best first, then those of the front that were measured again, or else all of it."""
    front = [one for one in result.front if one != result.best]
    again = [one for one in front if one.measured]
    return [result.best, *(again or front)][:_DRAWN]


def _drawn(report: Report, one: Candidate) -> str:
    best = one == report.result.best
    objectives = [*report.result.maximize, *report.result.minimize]
    figures = " · ".join(f"{spell_name(name)} {spell_figure(name, one.figures[name])}" for name in objectives)
    title = f"<code>{one.arch.id}</code> <span>{escape(figures)}</span>{' <b>★ chosen</b>' if best else ''}"
    json = f'<details class="arch"><summary>As JSON</summary><pre>{escape(one.arch.to_json())}</pre></details>'
    drawing = draw_subnet(report.supernet, one.arch)
    return f'<details class="subnet"{" open" if best else ""}><summary>{title}</summary>{drawing}{json}</details>'


def _table(result: SearchResult) -> str:
    names = [*result.maximize, *result.minimize]
    names += [name for name in ("params", "macs") if name not in names and name in result.best.figures]
    again = list(dict.fromkeys(name for one in result.candidates for name in one.measured))
    titles = [*map(spell_name, names), *(f"{spell_name(name)}, measured again" for name in again)]
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    rows = []
    for one in result.front:
        given = [spell_figure(name, one.figures[name]) for name in names]
        given += [spell_figure(name, one.measured[name]) if name in one.measured else "" for name in again]
        cells = "".join(f"<td>{escape(text)}</td>" for text in given)
        chosen = ' class="chosen"' if one == result.best else ""
        rows.append(f"<tr{chosen}><td><code>{one.arch.id}</code></td>{cells}</tr>")
    summary = f"<summary>The front as a table: {len(result.front)} subnets</summary>"
    body = f"<thead><tr><th>subnet</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f"<details>{summary}<table>{body}</table></details>"
