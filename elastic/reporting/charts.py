"""The report's charts, drawn by plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from typing import Any

from markupsafe import Markup

from elastic.searching.result import EvaluatedSubnet, SearchResult
from elastic.space.arch import Arch
from elastic.support.packages import require_packages
from elastic.support.text import spell_difference, spell_metric, spell_name

Curves = dict[str, tuple[list[float], list[float]]]
"""By name: steps and values."""

Interval = tuple[float, float, float]
"""A metric, and the ends of its confidence interval."""

Pairs = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""By name: predicted values, and those measured afterwards."""

_INK, _MUTED, _ACCENT, _WARM, _GREEN = "#1d2733", "#a9b4c0", "#1f6feb", "#d9480f", "#2b8a3e"
_PALETTE = ("#1f6feb", "#d9480f", "#2b8a3e", "#9c36b5", "#e67700", "#0b7285")
_SYMBOLS = ("triangle-down", "triangle-up", "star", "square", "diamond")  # of the marks, in their order
_THIN = {
    "mode": "lines",
    "line": {"color": _MUTED, "width": 1, "dash": "dot"},
    "hoverinfo": "skip",
    "showlegend": False,
}
_UNITS = {"latency_ms": "latency (ms)", "memory_bytes": "peak activations (bytes)", "accuracy": "accuracy (%)"}
_UNITS |= {"macs": "MACs", "params": "parameters", "robust": "robust accuracy (%)"}


def plotly_objects() -> Any:
    """Plotly's `graph_objects`.

    Raises:
        PackageError: plotly isn't installed.
    """
    require_packages("a report", "plotly")
    import plotly.graph_objects

    return plotly.graph_objects


def draw_front(result: SearchResult, marks: Mapping[str, EvaluatedSubnet] | None = None) -> Any:
    """A chart (a plotly figure) of all candidates, front and best subnet, over the last and the first objective."""
    go = plotly_objects()

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
    _add_measured(figure, result.candidates, horizontal, vertical)
    chosen = {**_dot(17, _WARM), "symbol": "star"}
    figure.add_trace(_points([best], horizontal, vertical, "chosen", mode="markers", marker=chosen))
    limit = result.subject_to.get(horizontal)
    if limit is not None:
        figure.add_vline(x=limit, line={"color": _WARM, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=limit,
            y=0,
            yref="paper",
            text=f"budget {spell_metric(horizontal, limit)}",
            showarrow=False,
            xanchor="right",
            xshift=-6,
            yanchor="bottom",
            font={"color": _WARM},
        )
    _style(figure, _unit(horizontal), _unit(vertical), 440)
    return figure


def _add_measured(figure: Any, candidates: Sequence[EvaluatedSubnet], horizontal: str, vertical: str) -> None:
    """Add the remeasured metrics of candidates, each with a line to the metrics that the search went by."""
    found = [one for one in candidates if one.measured]
    if not found:
        return
    again = [EvaluatedSubnet(one.arch, {**one.metrics, **one.measured}) for one in found]
    ties: dict[str, list[float | None]] = {horizontal: [], vertical: []}
    for before, after in zip(found, again, strict=True):
        for name, values in ties.items():
            values += [before.metrics[name], after.metrics[name], None]  # None ends a line
    line = {"color": _MUTED, "width": 1, "dash": "dot"}
    figure.add_scatter(
        x=ties[horizontal], y=ties[vertical], mode="lines", line=line, hoverinfo="skip", showlegend=False
    )
    dot = {**_dot(10, _GREEN), "symbol": "diamond"}
    figure.add_trace(_points(again, horizontal, vertical, "measured again", mode="markers", marker=dot))


def draw_agreement(pairs: Pairs, name: str) -> Any:
    """A chart of a metric's predictions against its measurements; they agree on the diagonal."""
    go = plotly_objects()

    figure = go.Figure()
    shown = [value for two in pairs.values() for values in two for value in values]
    ends = [min(shown), max(shown)] if shown else []
    figure.add_scatter(x=ends, y=ends, **_THIN)
    for at, (title, (predicted, measured)) in enumerate(pairs.items()):
        marker = {**_dot(9, _PALETTE[at % len(_PALETTE)]), "symbol": _SYMBOLS[-1 - at % len(_SYMBOLS)]}
        text = [
            f"predicted {spell_metric(name, a)}<br>measured {spell_metric(name, b)}<br>{spell_difference(name, a, b)}"
            for a, b in zip(predicted, measured, strict=True)
        ]
        hover = "%{text}<extra></extra>"
        figure.add_trace(
            go.Scatter(
                x=predicted, y=measured, name=title, mode="markers", marker=marker, text=text, hovertemplate=hover
            )
        )
    _style(figure, f"predicted {_unit(name)}", f"measured {_unit(name)}", 380)
    return figure


def draw_intervals(
    points: Mapping[str, Mapping[str, tuple[Interval, Interval]]], horizontal: str, vertical: str
) -> Any:
    """A chart of pairs of metrics, each with its interval.

    Args:
        points: by a set's title and a point's name: the horizontal figure and the vertical one.
        horizontal: what the axis says.
        vertical: likewise.
    """
    go = plotly_objects()

    figure = go.Figure()
    for at, (title, named) in enumerate(points.items()):
        axes = zip(*named.values(), strict=True)
        x, y = ({"value": [one[0] for one in axis], "error": _whiskers(axis)} for axis in axes)
        hover = [f"<b>{escape(name)}</b><br>{escape(title)} {one[0]:.1f} %" for name, (_, one) in named.items()]
        figure.add_trace(
            go.Scatter(
                x=x["value"],
                y=y["value"],
                error_x=x["error"],
                error_y=y["error"],
                name=title,
                mode="markers",
                marker=_dot(10, _PALETTE[at % len(_PALETTE)]),
                text=hover,
                hovertemplate="%{text}<extra></extra>",
            )
        )
    _style(figure, horizontal, vertical, 440)
    return figure


def _whiskers(intervals: Sequence[Interval]) -> dict[str, Any]:
    ends = {"array": [high - at for at, _, high in intervals], "arrayminus": [at - low for at, low, _ in intervals]}
    return {"type": "data", "symmetric": False, "thickness": 1, "width": 3, **ends}


def draw_lines(curves: Curves, horizontal: str, vertical: str) -> Any:
    """A chart of curves by name."""
    figure = _lines(curves, vertical)
    figure.update_layout(xaxis={"title": {"text": horizontal}})
    return figure


def draw_history(result: SearchResult) -> Any:
    """A chart of the hypervolume of the search's front by the number of evaluations."""
    go = plotly_objects()

    evaluations, volumes = zip(*result.history, strict=True)
    line = {"color": _ACCENT, "width": 2, "shape": "hv"}
    figure = go.Figure(go.Scatter(x=evaluations, y=volumes, name=result.algorithm, mode="lines", line=line))
    _style(figure, "evaluated subnets", "hypervolume", 380)
    return figure


def _axes(result: SearchResult) -> tuple[str, str]:
    names = [*result.maximize, *result.minimize]
    vertical = names[0]
    horizontal = result.minimize[0] if result.minimize and result.minimize[0] != vertical else names[-1]
    return horizontal, vertical


def _points(candidates: Sequence[EvaluatedSubnet], horizontal: str, vertical: str, name: str, **style: Any) -> Any:
    go = plotly_objects()

    return go.Scatter(
        x=[one.metrics[horizontal] for one in candidates],
        y=[one.metrics[vertical] for one in candidates],
        name=name,
        text=[_hover(one) for one in candidates],
        hovertemplate="%{text}<extra></extra>",
        **style,
    )


def _unit(name: str) -> str:
    """The title of an axis: `latency_ms.phone` → `latency (ms), phone`."""
    metric, _, device = name.partition(".")
    return _UNITS.get(metric, metric.replace("_", " ")) + (f", {device}" if device else "")


def _hover(candidate: EvaluatedSubnet) -> str:
    metrics = "<br>".join(f"{spell_name(k)}: {spell_metric(k, v)}" for k, v in candidate.metrics.items())
    return f"<b>{candidate.arch.id}</b><br>{metrics}<br>{_by_kind(candidate.arch)}"


def _by_kind(arch: Arch) -> str:
    """`heads: 2 3 3` and so on, one line per kind of dim."""
    kinds: dict[str, list[str]] = {}
    for name, value in arch.items():
        kinds.setdefault(name.split(".")[0], []).append(f"{value:g}")
    return "<br>".join(f"{escape(kind)}: {' '.join(values)}" for kind, values in kinds.items())


def draw_curves(curves: Curves) -> list[Any]:
    """Training curves: a chart of losses and one of accuracies."""
    losses = {name: curve for name, curve in curves.items() if "loss" in name}
    accuracies = {name: (x, [100 * y for y in ys]) for name, (x, ys) in curves.items() if "acc" in name}
    figures = [_lines(losses, "loss")] if losses else []
    figures += [_lines(accuracies, "accuracy (%)")] if accuracies else []
    return figures


def _lines(curves: Curves, vertical: str) -> Any:
    go = plotly_objects()

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


def to_html(chart: Any) -> Markup:
    """The chart as a piece of a page that has plotly."""
    config = {"responsive": True, "displaylogo": False, "displayModeBar": False}
    html = chart.to_html(full_html=False, include_plotlyjs=False, config=config)
    return Markup('<div class="figure">{}</div>').format(Markup(html))  # noqa: S704 - plotly's own
