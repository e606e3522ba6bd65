"""A subnet drawn block by block, as inline SVG and HTML: what is kept, how wide, and with which kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from elastic.layers.rules import NumberRule, TensorRule
from elastic.profiles.blocks import part_modules
from elastic.space.dims import Dim
from elastic.space.sizes import Number, kept_indices
from elastic.supernet.supernet import Supernet


def draw_subnet(supernet: Supernet, arch: Mapping[str, Number]) -> str:
    """An HTML fragment with a box for each block of the full model; what `arch` leaves out is hatched.

    Raises:
        ArchError: an arch that isn't in the space.
    """
    arch = supernet.space.arch(arch)
    values = {**arch, **supernet.layout.followers(arch)}
    own = _dims_of_blocks(supernet)
    owned = {dim.name for dims in own.values() for dim in dims}
    shared = [dim for dim in supernet.layout.uncoupled if dim.name not in owned]
    groups: dict[str, list[str]] = {}
    for path, dims in own.items():
        groups.setdefault(path.rpartition(".")[0], []).append(_block(supernet, path, dims, values))
    pieces = [f'<div class="shared">{"".join(_meter(dim, dim.name, values) for dim in shared)}</div>' if shared else ""]
    for container, blocks in groups.items():
        pieces.append(f'<h3>{escape(container)}</h3><div class="blocks">{"".join(blocks)}</div>')
    return "\n".join(pieces)


def _dims_of_blocks(supernet: Supernet) -> dict[str, list[Dim]]:
    """The blocks of elastic containers, by path in the model's order, each with the dims that only it has."""
    paths = [path for path, _ in part_modules(supernet) if path in supernet.layout.gates]
    used: dict[str, set[str]] = {}
    for place, rules in supernet.layout.rules.items():
        block = next((path for path in paths if f"{place}.".startswith(f"{path}.")), "")
        for rule in rules.values():
            for size in _size_names(rule):
                used.setdefault(size, set()).add(block)
    return {path: [dim for dim in supernet.layout.uncoupled if used.get(dim.name) == {path}] for path in paths}


def _size_names(rule: object) -> Iterable[str]:
    if isinstance(rule, TensorRule):
        return [size.name for size in rule.axes.sizes]
    if isinstance(rule, NumberRule):
        return [size.name for axis in rule.axes for size in axis.sizes]
    return []


def _block(supernet: Supernet, path: str, dims: list[Dim], arch: Mapping[str, Number]) -> str:
    gates = supernet.layout.gates[path]
    kept = all(
        gate.index in kept_indices(gate.full, int(arch.get(gate.depth, gate.full)), gate.keep) for gate in gates
    )
    name = escape(path.rpartition(".")[2])
    if not kept:
        return f'<div class="block out"><span class="name">{name}</span><span class="note">left out</span></div>'
    meters = "".join(_meter(dim, dim.kind, arch) for dim in dims)
    return f'<div class="block"><span class="name">{name}</span>{meters}</div>'


def _meter(dim: Dim, label: str, arch: Mapping[str, Number]) -> str:
    if dim.name not in arch:
        return ""
    value, full = arch[dim.name], dim.full
    picture = _kernel(int(value), int(full)) if dim.kind == "kernel" else _bar(float(value) / float(full))
    text = f"<b>{value:g}</b> of {full:g}" if value != full else f"<b>{value:g}</b>"
    return f'<span class="meter"><span class="label">{escape(label)}</span>{picture}<span>{text}</span></span>'


def _bar(share: float) -> str:
    return (
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" class="bar" aria-hidden="true">'
        '<rect width="100" height="10" class="full"/>'
        f'<rect width="{100 * share:.1f}" height="10" class="kept"/></svg>'
    )


def _kernel(side: int, full: int) -> str:
    """A square of full × full cells, the active ones in the middle filled."""
    start = (full - side) // 2
    cells = "".join(
        f'<rect x="{column}.08" y="{row}.08" width=".84" height=".84" class="'
        f'{"kept" if start <= row < start + side and start <= column < start + side else "full"}"/>'
        for row in range(full)
        for column in range(full)
    )
    return f'<svg viewBox="0 0 {full} {full}" class="kernel" aria-hidden="true">{cells}</svg>'
