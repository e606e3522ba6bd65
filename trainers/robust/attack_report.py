"""Reports of subnets under attack: tables in the terminal, JSON, and an HTML page with attacked images."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.table import Column, Table
from torch import Tensor

from elastic.reporting.charts import Curves, Interval, draw_intervals, draw_lines, to_html
from elastic.reporting.drawing import draw_subnet
from elastic.reporting.report import write_page
from elastic.space.arch import Arch
from elastic.supernet.supernet import Supernet
from elastic.support.text import short
from trainers.robust.accuracy import CLEAN, WORST, Robustness, Share
from trainers.robust.attacks import Threat
from trainers.robust.gradient_masking import MEANING, Check


@dataclass(frozen=True)
class Example:
    """An image, before and after an attack.

    Attributes:
        image: `(C, H, W)` between 0 and 1.
        attacked: likewise.
        label: its class.
        says: the predicted class and its probability, for the image and for the attacked one.
    """

    image: Tensor
    attacked: Tensor
    label: int
    says: tuple[tuple[int, float], tuple[int, float]]


@dataclass(frozen=True)
class Attacked:
    """A subnet that was attacked.

    Attributes:
        name: `smallest`, `middle_1`, or the arch's id.
        arch: the subnet's arch.
        macs: MACs of one forward pass.
        params: number of parameters.
        robustness: accuracy under each attack.
        checks: results of the gradient-masking checks; empty if not run.
        certified: certified accuracy of the smoothed model, by L2 radius; empty if not run.
        examples: attacked images.
    """

    name: str
    arch: Arch
    macs: int
    params: int
    robustness: Robustness
    checks: Sequence[Check] = ()
    certified: Mapping[float, Share] = field(default_factory=dict)
    examples: Sequence[Example] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        values: dict[str, Any] = {"name": self.name, "arch": dict(self.arch), "macs": self.macs, "params": self.params}
        values["shares"] = {name: share.to_dict() for name, share in self.robustness.shares.items()}
        if self.checks:
            values["checks"] = [vars(check) for check in self.checks]
        if self.certified:
            values["certified"] = [{"radius": radius, **one.to_dict()} for radius, one in self.certified.items()]
        return values


# --- in the terminal ----------------------------------------------------------------------------------------------


def attack_table(subnets: Sequence[Attacked]) -> Table:
    """Accuracies with their intervals, one row for each subnet."""
    names = list(subnets[0].robustness.shares)
    table = Table("subnet", "MACs", *(Column(name, justify="right") for name in names))
    for one in subnets:
        table.add_row(one.name, short(one.macs), *("\n".join(_spell(one.robustness[name])) for name in names))
    return table


def check_table(subnets: Sequence[Attacked]) -> Table:
    """The checks for masked gradients."""
    table = Table("subnet", "check", "", "found")
    for one in subnets:
        for check in one.checks:
            verdict = "ok" if check.ok else "[bold red]suspicious[/]"
            table.add_row(one.name, check.rule, verdict, check.finding)
    return table


def certified_table(subnets: Sequence[Attacked]) -> Table:
    """Certified accuracy by radius; beyond the last radius with a certificate it is 0."""
    radii = sorted({radius for one in subnets for radius in one.certified})
    table = Table("certified within", *(Column(f"{radius:.3g}", justify="right") for radius in radii))
    for one in subnets:
        nothing = Share(0, one.certified[0].n)
        table.add_row(one.name, *("\n".join(_spell(one.certified.get(radius, nothing))) for radius in radii))
    return table


def _spell(share: Share) -> tuple[str, str]:
    """An accuracy, and its interval."""
    low, high = share.interval
    return f"{share.accuracy:.1f} %", f"{low:.1f} to {high:.1f}"


# --- as a page ----------------------------------------------------------------------------------------------------


def write_attack_report(
    path: str | Path,
    title: str,
    supernet: Supernet,
    threat: Threat,
    subnets: Sequence[Attacked],
    notes: str,
    steps: Sequence[tuple[str, str]],
) -> Path:
    """Write the page atomically. It needs no other file and no network.

    Args:
        path: the HTML file.
        title: the headline.
        supernet: the supernet, for the drawings.
        threat: the threat model of the attacks.
        subnets: at least one.
        notes: a description of the measurements.
        steps: (description, command) pairs, shown as reproduction steps.
    """
    masked = ", ".join(suspects(subnets))
    return write_page(
        path,
        "trainers/robust/attack_report.html.jinja",
        title=title,
        notes=notes,
        summary=_summary(threat, subnets),
        steps=steps,
        front=to_html(draw_intervals(_points(subnets), "accuracy (%)", "accuracy under attack (%)")),
        attacks=list(subnets[0].robustness.shares),
        checks=[(one.name, check) for one in subnets for check in one.checks],
        verdict=f"{masked}: {MEANING}" if masked else "No sign of gradient masking.",
        certified=_certificates(subnets),
        examples={one.name: [_example(example) for example in one.examples] for one in subnets if one.examples},
        subnets=[_subnet(supernet, one) for one in subnets],
    )


def _summary(threat: Threat, subnets: Sequence[Attacked]) -> dict[str, str]:
    best = max(subnets, key=lambda one: one.robustness[WORST].right)
    return {
        "ε": f"{threat.epsilon} ({threat.norm})",
        "images": f"{best.robustness[CLEAN].n:,}",
        "the most robust subnet": best.name,
        "its accuracy": f"{best.robustness[CLEAN].accuracy:.1f} %",
        "under the worst attack": f"{best.robustness[WORST].accuracy:.1f} %",
    }


def _points(subnets: Sequence[Attacked]) -> dict[str, dict[str, tuple[Interval, Interval]]]:
    names = [name for name in subnets[0].robustness.shares if name != CLEAN]
    return {
        name: {one.name: (_interval(one.robustness[CLEAN]), _interval(one.robustness[name])) for one in subnets}
        for name in names
    }


def _interval(share: Share) -> Interval:
    return (share.accuracy, *share.interval)


def suspects(subnets: Sequence[Attacked]) -> list[str]:
    """Names of the subnets that failed a check."""
    return [one.name for one in subnets if not all(check.ok for check in one.checks)]


def _certificates(subnets: Sequence[Attacked]) -> str:
    """A chart of certified accuracies; empty if none were computed."""
    if not subnets[0].certified:
        return ""
    curves: Curves = {
        one.name: (list(one.certified), [share.accuracy for share in one.certified.values()]) for one in subnets
    }
    return to_html(draw_lines(curves, "radius (L2)", "certified accuracy (%)"))


def _example(example: Example) -> dict[str, Any]:
    change = example.attacked - example.image
    shades = 0.5 + 0.5 * change / change.abs().max().clamp(min=1e-12)
    pictures = {"image": example.image, "change": shades, "attacked image": example.attacked}
    (before, sure), (after, surer) = example.says
    verdict = "withstood" if after == example.label else "broken"
    return {
        "pictures": {alt: data_uri(pixels) for alt, pixels in pictures.items()},
        "text": f"class {example.label}, classified as {before} ({sure:.0%}), then as {after} ({surer:.0%}): {verdict}",
    }


def data_uri(pixels: Tensor) -> str:
    """An image `(C, H, W)` between 0 and 1 as a PNG within a page; grey unless it has three channels."""
    levels = (255 * pixels.clamp(0, 1)).round().to(torch.uint8).cpu()
    array = levels.permute(1, 2, 0).numpy() if len(levels) == 3 else levels[0].numpy()
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _subnet(supernet: Supernet, one: Attacked) -> dict[str, Any]:
    worst, interval = _spell(one.robustness[WORST])
    return {
        "name": one.name,
        "macs": short(one.macs),
        "params": short(one.params),
        "shares": [_spell(share) for share in one.robustness.shares.values()],
        "metrics": f"{short(one.macs)} MACs · {worst} ({interval}) under the worst attack",
        "drawing": draw_subnet(supernet, one.arch),
        "json": one.arch.to_json(),
    }
