"""How many examples a test runs on: fewer in `make test` than in `make sweep`."""

import pytest
from hypothesis import settings


def tenth():
    """A tenth of a property test's examples: for loops that take long."""
    return settings.default.max_examples // 10


def few(test):
    """A property test whose examples take long; it has a tenth of them."""
    return settings(max_examples=tenth())(test)


def mostly_swept(cases, always):
    """Parameters of a test: those of `always` run each time, the other cases in sweeps only."""
    unknown = set(always) - set(cases)
    assert not unknown, f"no such cases: {unknown}"
    return [
        pytest.param(*(case if type(case) is tuple else (case,)), marks=() if case in always else pytest.mark.sweep)
        for case in cases
    ]
