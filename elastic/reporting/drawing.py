"""A subnet drawn block by block, as inline SVG and HTML: active blocks, their widths and kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from elastic.layers.read_rules import DepthRule
from elastic.layout.layout import sizes_of
from elastic.profiles.blocks import block_modules
from elastic.space.dims import Dim
from elastic.space.sizes import Number
from elastic.supernet.supernet import Supernet
from elastic.support.templates import render


def draw_subnet(supernet: Supernet, arch: Mapping[str, Number]) -> Markup:
    """An HTML fragment with a box for each block of the full model; blocks that `arch` leaves out are hatched.

    Raises:
        ArchError: an arch that isn't in the space.
    """
    arch = supernet.space.arch(arch)
    values = {**arch, **supernet.layout.followers(arch)}
    own = _dims_of_blocks(supernet)
    owned = {dim.name for dims in own.values() for dim in dims}
    others = [dim for dim in supernet.layout.uncoupled if dim.name not in owned]
    shared = [_meter(dim, dim.name, values) for dim in others if dim.name in values]
    containers: dict[str, list[dict[str, Any]]] = {}
    for path, dims in own.items():
        container, _, name = path.rpartition(".")
        meters = [_meter(dim, dim.kind, values) for dim in dims if dim.name in values]
        block = {"name": name, "active": _is_active(supernet, path, values), "meters": meters}
        containers.setdefault(container, []).append(block)
    page = render("elastic/reporting/drawing.html.jinja", shared=shared, containers=containers)
    return Markup(page)  # noqa: S704 - the template escapes


def _dims_of_blocks(supernet: Supernet) -> dict[str, list[Dim]]:
    """The blocks of elastic containers, by path in the model's order, each with the dims that no other block has."""
    paths = [path for path, _ in block_modules(supernet) if path in supernet.layout.gates]
    used: dict[str, set[str]] = {}
    for place, rules in supernet.layout.rules.items():
        block = next((path for path in paths if f"{place}.".startswith(f"{path}.")), "")
        for rule in rules.values():
            if not isinstance(rule, DepthRule):
                for size in sizes_of(rule):
                    used.setdefault(size.name, set()).add(block)
    return {path: [dim for dim in supernet.layout.uncoupled if used.get(dim.name) == {path}] for path in paths}


def _is_active(supernet: Supernet, path: str, values: Mapping[str, Number]) -> bool:
    """True if a block is part of the subnet."""
    return all(gate.passes(values.get(gate.depth, gate.full)) for gate in supernet.layout.gates[path])


def _meter(dim: Dim, label: str, values: Mapping[str, Number]) -> dict[str, Any]:
    """A dim's value beside its full one; of a kernel, the rows and columns that are active, in the middle."""
    value, full = values[dim.name], dim.full
    start = (int(full) - int(value)) // 2
    kernel = range(start, start + int(value)) if dim.kind == "kernel" else None
    return {"label": label, "value": value, "full": full, "kernel": kernel}
