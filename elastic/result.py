"""What a search found: every subnet it evaluated, the Pareto front among them, and the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elastic.arch import Arch
from elastic.errors import CheckpointError
from elastic.storage import read_json, write_json

_KIND = "elastic search result"


@dataclass(frozen=True)
class Candidate:
    """An evaluated subnet: its figures are both the measured ones and the costs."""

    arch: Arch
    figures: Mapping[str, float]


@dataclass(frozen=True)
class SearchResult:
    """All that a search evaluated.

    Attributes:
        supernet: digest of the supernet.
        maximize: names of the figures to maximise.
        minimize: names of the figures to minimise.
        subject_to: the budget; every candidate meets it.
        candidates: in the order of evaluation.
        seed: the search's seed.
        device: where latencies were measured, as the profile says.
    """

    supernet: str
    maximize: tuple[str, ...]
    minimize: tuple[str, ...]
    subject_to: Mapping[str, float]
    candidates: tuple[Candidate, ...]
    seed: int = 0
    device: Mapping[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Candidate:
        """The candidate with the best first objective; of equals, the one with the best next."""
        goals = self.goals()
        return self.candidates[int(np.lexsort(goals.T[::-1])[0])]

    @property
    def front(self) -> list[Candidate]:
        """The candidates that no other beats in every objective, ordered by the last one."""
        goals = self.goals()
        kept = np.flatnonzero(undominated(goals))
        first_of_equals = kept[np.sort(np.unique(goals[kept], axis=0, return_index=True)[1])]
        return [self.candidates[at] for at in sorted(first_of_equals, key=lambda at: tuple(goals[at][::-1]))]

    def goals(self) -> NDArray[np.float64]:
        """All objectives as numbers to minimise: `(candidates, objectives)`, the maximised ones first."""
        return goals_of([one.figures for one in self.candidates], self.maximize, self.minimize)

    def save(self, path: str | Path) -> Path:
        """Write the result as one JSON file, whole or not at all."""
        values = {
            "kind": _KIND,
            "supernet": self.supernet,
            "maximize": self.maximize,
            "minimize": self.minimize,
            "subject_to": dict(self.subject_to),
            "seed": self.seed,
            "device": dict(self.device),
            "best": dict(self.best.arch),
            "candidates": [{"arch": dict(one.arch), "figures": dict(one.figures)} for one in self.candidates],
        }
        return write_json(path, values)

    @classmethod
    def load(cls, path: str | Path) -> SearchResult:
        """The result that `save` wrote.

        Raises:
            CheckpointError: a file that is missing, truncated or something else.
        """
        values = read_json(path, CheckpointError, "a search result (elastic search writes one)")
        if values.get("kind") != _KIND:
            raise CheckpointError(f"{path} isn't a search result: its kind is {values.get('kind')!r}, wanted {_KIND!r}")
        try:
            return cls(
                supernet=values["supernet"],
                maximize=tuple(values["maximize"]),
                minimize=tuple(values["minimize"]),
                subject_to=values["subject_to"],
                candidates=tuple(Candidate(Arch(one["arch"]), one["figures"]) for one in values["candidates"]),
                seed=values["seed"],
                device=values["device"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is a broken search result ({error!r}); search again") from error


def goals_of(
    figures: Sequence[Mapping[str, float]], maximize: Sequence[str], minimize: Sequence[str]
) -> NDArray[np.float64]:
    """Objectives as numbers to minimise, `(n, objectives)`; NaN counts as the worst."""
    raw = [[-one[name] for name in maximize] + [one[name] for name in minimize] for one in figures]
    return np.nan_to_num(np.array(raw, dtype=np.float64), nan=math.inf, posinf=math.inf, neginf=-math.inf)


def undominated(goals: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows of `(n, objectives)` no other row dominates; smaller is better."""
    no_worse = (goals[:, None] <= goals[None]).all(axis=2)
    better = (goals[:, None] < goals[None]).any(axis=2)
    dominated: NDArray[np.bool_] = np.any(no_worse & better, axis=0)
    return ~dominated
