"""The report: one HTML page that works offline: the front, its remeasured metrics, and drawings of subnets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from elastic.reporting.charts import Curves, Pairs, draw_agreement, draw_curves, draw_front, draw_history, to_html
from elastic.reporting.drawing import draw_subnet
from elastic.searching.result import EvaluatedSubnet, SearchResult
from elastic.supernet.supernet import Supernet
from elastic.support.files import write_text
from elastic.support.packages import require_packages
from elastic.support.templates import render
from elastic.support.text import spell_metric, spell_name

_DRAWN = 8
"""At most this many subnets are drawn."""


@dataclass(frozen=True)
class Report:
    """The contents of the page.

    Attributes:
        title: the headline.
        supernet: whose subnets; gives the drawings.
        result: the search's result.
        summary: metrics at the top, name → text.
        steps: the steps that led here, in order: (description, command or file).
        curves: training curves, from `read_curves`.
        marks: more subnets for the front: name → candidate.
        agreement: by a metric's name, and by the title of a set of subnets: predictions and measurements.
        notes: how the metrics were measured, in a sentence or two.
        front_notes: how far the front's metrics can be trusted, in a sentence or two.
    """

    title: str
    supernet: Supernet
    result: SearchResult
    summary: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[tuple[str, str]] = ()
    curves: Curves = field(default_factory=dict)
    marks: Mapping[str, EvaluatedSubnet] = field(default_factory=dict)
    agreement: Mapping[str, Pairs] = field(default_factory=dict)
    notes: str = ""
    front_notes: str = ""


def write_report(report: Report, path: str | Path) -> Path:
    """Write the page atomically. It needs no other file and no network.

    Raises:
        PackageError: plotly isn't installed.
    """
    result = report.result
    trust = [to_html(draw_agreement(pairs, name)) for name, pairs in report.agreement.items() if pairs]
    if len(result.history) > 1:
        trust.append(to_html(draw_history(result)))
    trust_titles = ["Predicted against measured"] if report.agreement else []
    return write_page(
        path,
        "elastic/reporting/report.html.jinja",
        title=report.title,
        notes=report.notes,
        summary=report.summary,
        steps=report.steps,
        front=to_html(draw_front(result, report.marks)),
        front_notes=report.front_notes,
        trust_title=_capitalized(", and ".join([*trust_titles, "how the search went on"])),
        trust=trust,
        curves=[to_html(chart) for chart in draw_curves(report.curves)],
        subnets=[_subnet(report, one) for one in _chosen(result)],
        **_table(result),
    )


def write_page(path: str | Path, template: str, **values: Any) -> Path:
    """Write a page with charts atomically. It needs no other file and no network.

    Args:
        path: the HTML file.
        template: extends `elastic/reporting/page.html.jinja`.
        values: the values of both templates, by name; texts are escaped. `page.html.jinja` needs `title`, `notes`,
            `summary` (name → text) and `steps` (pairs of a description and a command or file).

    Raises:
        PackageError: plotly isn't installed.
    """
    require_packages("a report", "plotly")
    from plotly.offline import get_plotlyjs

    script = Markup(get_plotlyjs())  # noqa: S704 - plotly's own
    return write_text(path, render(template, plotly=script, **values))


def write_csv(result: SearchResult, path: str | Path) -> Path:
    """Write all candidates as a table: id, 1 if on the front, metrics, remeasured metrics, and every dim."""
    metrics = list(dict.fromkeys(name for one in result.candidates for name in one.metrics))
    measured = list(dict.fromkeys(name for one in result.candidates for name in one.measured))
    dims = list(dict.fromkeys(name for one in result.candidates for name in one.arch))
    front = {one.arch for one in result.front}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["arch", "front", *metrics, *(f"measured {name}" for name in measured), *dims])
    for one in result.candidates:
        values = [*(one.metrics.get(name, "") for name in metrics), *(one.measured.get(name, "") for name in measured)]
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


# --- values of the template ---------------------------------------------------------------------------------


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _chosen(result: SearchResult) -> list[EvaluatedSubnet]:
    """The best subnet, then the remeasured ones of the front; the whole front where none was remeasured."""
    front = [one for one in result.front if one != result.best]
    again = [one for one in front if one.measured]
    return [result.best, *(again or front)][:_DRAWN]


def _subnet(report: Report, one: EvaluatedSubnet) -> dict[str, Any]:
    """The template's values for a subnet that is drawn."""
    objectives = [*report.result.maximize, *report.result.minimize]
    return {
        "best": one == report.result.best,
        "id": one.arch.id,
        "metrics": " · ".join(f"{spell_name(name)} {spell_metric(name, one.metrics[name])}" for name in objectives),
        "drawing": draw_subnet(report.supernet, one.arch),
        "json": one.arch.to_json(),
    }


def _table(result: SearchResult) -> dict[str, Any]:
    """Columns and rows of the front as a table."""
    names = [*result.maximize, *result.minimize]
    names += [name for name in ("params", "macs") if name not in names and name in result.best.metrics]
    again = list(dict.fromkeys(name for one in result.candidates for name in one.measured))
    rows = []
    for one in result.front:
        cells = [spell_metric(name, one.metrics[name]) for name in names]
        cells += [spell_metric(name, one.measured[name]) if name in one.measured else "" for name in again]
        rows.append({"best": one == result.best, "id": one.arch.id, "cells": cells})
    columns = [*map(spell_name, names), *(f"{spell_name(name)}, measured again" for name in again)]
    return {"columns": columns, "rows": rows}
