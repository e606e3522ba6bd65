"""The report: one HTML page that works offline, with the front, the training curves and the chosen subnet."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from itertools import cycle
from pathlib import Path
from string import Template
from typing import Any

from elastic.arch import Arch
from elastic.drawing import draw_subnet
from elastic.result import Candidate, SearchResult
from elastic.storage import write_text
from elastic.supernet import Supernet
from elastic.words import spell_figure, spell_name

Curves = dict[str, tuple[list[float], list[float]]]
"""By name: steps and values."""

_INK, _MUTED, _ACCENT, _WARM = "#1d2733", "#a9b4c0", "#1f6feb", "#d9480f"
_PALETTE = ("#1f6feb", "#d9480f", "#2b8a3e", "#9c36b5", "#e67700", "#0b7285")
_SYMBOLS = ("triangle-down", "triangle-up", "star", "square", "diamond")  # of the marks, in their order
_UNITS = {"latency_ms": "latency (ms)", "memory_bytes": "peak activations (bytes)", "accuracy": "accuracy (%)"}
_UNITS |= {"macs": "MACs", "params": "parameters"}


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Attributes:
        title: the headline.
        supernet: whose subnets; gives the drawing.
        result: the search's result.
        summary: the figures on top, name → text.
        steps: what was done, in order: (what, its command or file).
        curves: training curves, from `read_curves`.
        marks: more subnets for the front: name → candidate.
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
    notes: str = ""
    front_notes: str = ""


def write_report(report: Report, path: str | Path) -> Path:
    """Write the page, whole or not at all; it needs no other file and no network."""
    from plotly.offline import get_plotlyjs

    template = Template(files("elastic").joinpath("templates/report.html").read_text("utf-8"))
    best = report.result.best
    curves = _curves(report.curves) if report.curves else ""
    page = template.substitute(
        title=escape(report.title),
        plotly=get_plotlyjs(),
        summary="".join(_tile(name, text) for name, text in report.summary.items()),
        notes=escape(report.notes),
        front_notes=f"<p>{escape(report.front_notes)}</p>" if report.front_notes else "",
        front=_html(draw_front(report.result, report.marks)),
        table=_table(report.result),
        curves=f"<section><h2>Training</h2>{curves}</section>" if curves else "",
        subnet=draw_subnet(report.supernet, best.arch),
        arch=escape(best.arch.to_json()),
        arch_id=best.arch.id,
        steps="".join(f"<li><span>{escape(what)}</span><code>{escape(how)}</code></li>" for what, how in report.steps),
    )
    return write_text(path, page)


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


# --- figures ------------------------------------------------------------------------------------------------


def draw_front(result: SearchResult, marks: Mapping[str, Candidate] | None = None) -> Any:
    """A plotly figure of all candidates, the Pareto front and the best, over the last and the first objective."""
    import plotly.graph_objects as go

    horizontal, vertical = _axes(result)
    figure = go.Figure()
    front, best = result.front, result.best
    others = [one for one in result.candidates if one not in front and one != best]
    figure.add_trace(_points(others, horizontal, vertical, "evaluated", mode="markers", marker=_dot(7, _MUTED)))
    line = {"color": _ACCENT, "width": 2, "shape": "hv"}  # what a budget buys stays the same up to the next point
    figure.add_trace(
        _points(front, horizontal, vertical, "Pareto front", mode="lines+markers", marker=_dot(9, _ACCENT), line=line)
    )
    for (name, one), symbol in zip((marks or {}).items(), cycle(_SYMBOLS), strict=False):
        dot = {**_dot(12, _INK), "symbol": symbol}
        figure.add_trace(_points([one], horizontal, vertical, name, mode="markers", marker=dot))
    chosen = {**_dot(17, _WARM), "symbol": "star"}
    figure.add_trace(_points([best], horizontal, vertical, "chosen", mode="markers", marker=chosen))
    limit = result.subject_to.get(horizontal)
    if limit is not None:
        figure.add_vline(x=limit, line={"color": _WARM, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=limit, y=0, yref="paper", text=f"budget {spell_figure(horizontal, limit)}", showarrow=False,
            xanchor="right", xshift=-6, yanchor="bottom", font={"color": _WARM},
        )
    _style(figure, _UNITS.get(horizontal, horizontal), _UNITS.get(vertical, vertical), 440)
    return figure


def _axes(result: SearchResult) -> tuple[str, str]:
    names = [*result.maximize, *result.minimize]
    vertical = names[0]
    horizontal = result.minimize[0] if result.minimize and result.minimize[0] != vertical else names[-1]
    return horizontal, vertical


def _points(candidates: Sequence[Candidate], horizontal: str, vertical: str, name: str, **style: Any) -> Any:
    import plotly.graph_objects as go

    return go.Scatter(
        x=[one.figures[horizontal] for one in candidates],
        y=[one.figures[vertical] for one in candidates],
        name=name,
        text=[_hover(one) for one in candidates],
        hovertemplate="%{text}<extra></extra>",
        **style,
    )


def _hover(candidate: Candidate) -> str:
    figures = "<br>".join(f"{spell_name(k)}: {spell_figure(k, v)}" for k, v in candidate.figures.items())
    return f"<b>{candidate.arch.id}</b><br>{figures}<br>{_by_kind(candidate.arch)}"


def _by_kind(arch: Arch) -> str:
    """`heads: 2 3 3` and so on, one line per kind of dim."""
    kinds: dict[str, list[str]] = {}
    for name, value in arch.items():
        kinds.setdefault(name.split(".")[0], []).append(f"{value:g}")
    return "<br>".join(f"{escape(kind)}: {' '.join(values)}" for kind, values in kinds.items())


def _curves(curves: Curves) -> str:
    """Losses on one figure, accuracies on another."""
    losses = {name: curve for name, curve in curves.items() if "loss" in name}
    accuracies = {name: (x, [100 * y for y in ys]) for name, (x, ys) in curves.items() if "acc" in name}
    figures = [_lines(losses, "loss")] if losses else []
    figures += [_lines(accuracies, "accuracy (%)")] if accuracies else []
    return '<div class="pair">' + "".join(_html(figure) for figure in figures) + "</div>"


def _lines(curves: Curves, vertical: str) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for at, (name, (steps, values)) in enumerate(curves.items()):
        style = {"mode": "lines+markers" if len(steps) < 30 else "lines", "marker": {"size": 5}}
        line = {"color": _PALETTE[at % len(_PALETTE)], "width": 2}
        figure.add_trace(go.Scatter(x=steps, y=values, name=_curve_name(name), line=line, **style))
    _style(figure, "step", vertical, 340)
    return figure


def _curve_name(name: str) -> str:
    parts = [part for part in name.replace("_", " ").split("/") if part not in ("val", "train", "accuracy")]
    return " ".join(parts) or name


def _dot(size: int, color: str) -> dict[str, Any]:
    return {"size": size, "color": color, "line": {"color": "white", "width": 1}}


def _style(figure: Any, horizontal: str, vertical: str, height: int) -> None:
    axis = {"gridcolor": "#e8ecf0", "linecolor": "#c9d1d9", "zeroline": False, "automargin": True}
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 56, "r": 16, "t": 16, "b": 48},
        font={"family": "system-ui, sans-serif", "size": 14, "color": _INK},
        xaxis={"title": {"text": horizontal}, **axis},
        yaxis={"title": {"text": vertical}, **axis},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"bgcolor": "white", "font": {"color": _INK}, "align": "left"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )


def _html(figure: Any) -> str:
    config = {"responsive": True, "displaylogo": False, "displayModeBar": False}
    html: str = figure.to_html(full_html=False, include_plotlyjs=False, config=config)
    return f'<div class="figure">{html}</div>'


# --- text ---------------------------------------------------------------------------------------------------


def _tile(name: str, text: str) -> str:
    return f'<div class="tile"><span>{escape(name)}</span><b>{escape(text)}</b></div>'


def _table(result: SearchResult) -> str:
    names = [*result.maximize, *result.minimize]
    names += [name for name in ("params", "macs") if name not in names and name in result.best.figures]
    head = "".join(f"<th>{escape(spell_name(name))}</th>" for name in names)
    rows = []
    for one in result.front:
        cells = "".join(f"<td>{escape(spell_figure(name, one.figures[name]))}</td>" for name in names)
        chosen = ' class="chosen"' if one == result.best else ""
        rows.append(f"<tr{chosen}><td><code>{one.arch.id}</code></td>{cells}</tr>")
    summary = f"<summary>The front as a table: {len(result.front)} subnets</summary>"
    body = f"<thead><tr><th>subnet</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f"<details>{summary}<table>{body}</table></details>"
