"""Figures as people read them."""

from __future__ import annotations

from typing import Any


def short(number: float) -> str:
    """Three digits and a unit: 1234567 → `1.23M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def spell_bytes(number: float) -> str:
    """A number of bytes: 1536 → `1.5 KiB`."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(number) >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g} B"


def spell_count(number: int) -> str:
    """An exact count where it can be read, else its size: `22,113`, `2.2e+19`."""
    if number < 10**9:
        return f"{number:,}"
    exponent = len(str(number)) - 1
    return f"{number / 10**exponent:.1f}e+{exponent}"


def spell_figure(name: str, value: Any) -> str:
    """A figure with the unit that its name says: `("latency_ms", 1.234)` → `1.23 ms`."""
    if isinstance(value, str):
        return value
    name = name.partition(".")[0]  # latency_ms.phone
    if name.endswith("_ms"):
        return f"{value:.3g} ms"
    if name.endswith("_bytes"):
        return spell_bytes(value)
    if "accuracy" in name or name == "robust":
        return f"{value:.2f} %"
    if name in ("params", "macs"):
        return short(value)
    return f"{value:g}"


def spell_name(name: str) -> str:
    """A figure's name without its unit: `memory_bytes` → `memory`, `latency_ms.phone` → `latency, phone`."""
    name, _, device = name.partition(".")
    plain = name.removesuffix("_ms").removesuffix("_bytes").replace("_", " ")
    plain = {"macs": "MACs", "params": "parameters", "robust": "robust accuracy"}.get(plain, plain)
    return f"{plain}, {device}" if device else plain
