"""Timings, never asserted: ratios are measured side by side in one run and shown in a table at the end."""

import statistics
import time

import pytest
import torch

ROWS = pytest.StashKey()


def pytest_configure(config):
    config.stash[ROWS] = []


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def side_by_side():
    """Times of callables taken in turns: `side_by_side(rounds, one, other, …)` → a list of seconds for each."""

    def measure(rounds, *functions):
        for function in functions:
            function()
        times = [[] for _ in functions]
        for _ in range(rounds):
            for function, seconds in zip(functions, times, strict=True):
                start = time.perf_counter()
                function()
                seconds.append(time.perf_counter() - start)
        return times

    return measure


@pytest.fixture
def figure(request):
    """Record a line of the table: what, the samples, unit and target."""

    def record(what, samples, unit, target):
        quarters = statistics.quantiles(samples, n=4) if len(samples) > 1 else [samples[0]] * 3
        request.config.stash[ROWS].append((what, statistics.median(samples), quarters, len(samples), unit, target))

    return record


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash[ROWS]
    if not rows:
        return
    terminalreporter.section("figures")
    terminalreporter.write_line(f"{'what':62} {'median':>9} {'quartiles':>17} {'n':>4}  {'unit':6} target")
    for what, median, (low, _, high), n, unit, target in rows:
        quartiles = f"{low:.3g} … {high:.3g}"
        terminalreporter.write_line(f"{what:62} {median:9.3g} {quartiles:>17} {n:4}  {unit:6} {target}")
