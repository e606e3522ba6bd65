"""Exact search."""

from __future__ import annotations

from elastic.problem import Problem


def dynamic(problem: Problem, population: int, generations: int) -> None:
    """Exact."""
    raise NotImplementedError
