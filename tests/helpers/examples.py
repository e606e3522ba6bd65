"""How many examples a test runs on: fewer in `make test` than in `make sweep`."""

import pytest
from hypothesis import settings


def few(test):
    """A property test whose examples take long: a tenth of the usual number."""
    return settings(max_examples=settings.default.max_examples // 10)(test)


def mostly_swept(cases, always):
    """Parameters of a test: those of `always` run each time, the other cases in sweeps only."""
    unknown = set(always) - set(cases)
    assert not unknown, f"no such cases: {unknown}"
    return [pytest.param(case, marks=() if case in always else pytest.mark.sweep) for case in cases]
