"""Budgets as people type them."""

import pytest

from elastic.errors import BudgetError
from elastic.searching.limits import parse_limits


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("", {}),
        ("latency_ms=20", {"latency_ms": 20.0}),
        ("latency=20ms", {"latency_ms": 20.0}),
        ("20ms", {"latency_ms": 20.0}),
        ("latency = 0.5 s", {"latency_ms": 500.0}),
        ("250us", {"latency_ms": 0.25}),
        ("latency.phone=20ms, latency_ms.laptop <= 8", {"latency_ms.phone": 20.0, "latency_ms.laptop": 8.0}),
        ("macs=2M", {"macs": 2e6}),
        ("macs ≤ 1.5G", {"macs": 1.5e9}),
        ("params=4e6", {"params": 4e6}),
        ("memory=3MiB", {"memory_bytes": 3 * 2**20}),
        ("3MiB", {"memory_bytes": 3 * 2**20}),
        ("memory=3MB, memory_bytes.x=100", {"memory_bytes": 3e6, "memory_bytes.x": 100.0}),
        ("energy=2k", {"energy": 2000.0}),
        ("latency_ms=8, macs=2e6", {"latency_ms": 8.0, "macs": 2e6}),
    ],
)
def test_limits_are_read_with_their_units(text, limits):
    assert parse_limits(text) == pytest.approx(limits)


@pytest.mark.parametrize("text", ["8", "2M", "latency_ms", "latency_ms=fast", "latency_ms:8", "macs=", "=8"])
def test_an_unreadable_budget_is_refused(text):
    with pytest.raises(BudgetError, match="write it as latency_ms=8"):
        parse_limits(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("macs=20ms", "macs has no unit 'ms'; choose one of k, K, M"),
        ("latency=3MiB", "latency_ms has no unit 'MiB'; choose one of k, K, M, G, T, us, µs, ms, s"),
        ("params=2m", "params has no unit 'm'"),
        ("latncy=20ms", r"no cost is called 'latncy'; did you mean latency_ms\?"),
        ("memry=3MiB", r"no cost is called 'memry'; did you mean memory_bytes\?"),
        ("accuracy=3ms", "no cost is called 'accuracy'; only latency_ms, memory_bytes have units"),
    ],
)
def test_a_unit_of_something_else_is_refused(text, message):
    with pytest.raises(BudgetError, match=message):
        parse_limits(text)


def test_a_cost_has_one_budget():
    with pytest.raises(BudgetError, match="the budget 'latency=1ms, 2ms' has latency_ms twice; write it once"):
        parse_limits("latency=1ms, 2ms")
