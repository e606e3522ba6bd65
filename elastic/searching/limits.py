"""Limits of a budget, as people type them: `latency=20ms, macs=2M`; and the names of costs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from elastic.errors import BudgetError
from elastic.support.text import did_you_mean, names_in

COSTS = ("latency_ms", "macs", "params", "memory_bytes")
"""Metrics that can be minimised or limited without evaluating a subnet."""

_COUNTS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES = {f"{prefix}B": factor for prefix, factor in _COUNTS.items()}
_BYTES |= {f"{prefix}iB": 2 ** (10 * power) for power, prefix in enumerate("KMGT", start=1)} | {"kiB": 2**10}
_MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_UNITS: Mapping[str, Mapping[str, float]] = {"latency_ms": _MILLISECONDS, "memory_bytes": _BYTES}
"""The units of a cost, as factors of the unit that its name says; of all others there are numbers only."""

_SHORT_NAMES = {"latency": "latency_ms", "memory": "memory_bytes"}

_LIMIT = re.compile(r"(?:(?P<name>[^=<≤]+?)\s*(?:=|<=|≤)\s*)?(?P<number>[-+.\deE]+?)\s*(?P<unit>[a-zA-Zµ]*)")


def parse_limits(text: str) -> dict[str, float]:
    """Limits as people type them, by cost, in the unit of its name: `latency=20ms, macs=2M, memory=3MiB`.

    Units are us, ms and s; B, kB, MB … and KiB, MiB …; k, M, G and T of anything. `latency` is `latency_ms`, `memory`
    `memory_bytes`; where the unit says which one is meant, as in `20ms`, the name may be left out.

    Raises:
        BudgetError: not of that form, a unit of something else, or a cost that is there twice.
    """
    limits: dict[str, float] = {}
    for part in names_in(text):
        name, limit = _parse_limit(part)
        if name in limits:
            raise BudgetError(f"the budget {text!r} has {name} twice; write it once")
        limits[name] = limit
    return limits


def _parse_limit(text: str) -> tuple[str, float]:
    match = _LIMIT.fullmatch(text)
    try:
        number = float(match["number"]) if match else math.nan
    except ValueError:
        match = None
    if match is None:
        raise _unreadable(text)
    unit, name = match["unit"], match["name"]
    if name is None:
        name = next((cost for cost, units in _UNITS.items() if unit in units), None)
        if name is None:
            raise _unreadable(text)
    kind, _, device = name.partition(".")
    kind = _SHORT_NAMES.get(kind, kind)
    units = {**_COUNTS, **_UNITS.get(kind, {})}
    if unit not in units:
        if kind not in COSTS:
            cure = did_you_mean(
                kind, {name: name for name in COSTS} | _SHORT_NAMES, f"only {', '.join(_UNITS)} have units of their own"
            )
            raise BudgetError(f"the budget {text!r}: no cost is called {kind!r}; {cure}")
        known = ", ".join(filter(None, units))
        raise BudgetError(f"the budget {text!r}: {kind} has no unit {unit!r}; choose one of {known}")
    return f"{kind}.{device}" if device else kind, number * units[unit]


def _unreadable(text: str) -> BudgetError:
    return BudgetError(
        f"can't read the budget {text!r}; write it as latency_ms=8, latency=8ms, macs=2M, params=4e6 or memory=3MiB, "
        "several with commas between"
    )


def latency_name(device: str) -> str:
    """The metric name of a device's latency: `latency_ms.phone`, or `latency_ms` if there is one unnamed device."""
    return f"latency_ms.{device}" if device else "latency_ms"
