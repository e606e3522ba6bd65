"""The result of a search: every subnet it evaluated, the Pareto front among them, and the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elastic.errors import ArchError, CheckpointError
from elastic.searching.fronts import undominated
from elastic.space.arch import Arch
from elastic.space.sizes import Number
from elastic.supernet.folder import check_digest
from elastic.supernet.supernet import Supernet
from elastic.support.files import write_json
from elastic.support.records import read_record, to_plain
from elastic.support.text import html_table, spell_metric, spell_name

_NAME = "search result"
_RENAMED = {"figures": "metrics"}


@dataclass(frozen=True)
class EvaluatedSubnet:
    """An evaluated subnet.

    Attributes:
        arch: which subnet.
        metrics: the metrics that the search went by, by name: measured, predicted, and costs.
        measured: metrics that were measured again afterwards, of the subnet itself on the device.
    """

    arch: Arch
    metrics: Mapping[str, Number]
    measured: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class SearchResult:
    """The result of a search.

    Attributes:
        supernet: digest of the supernet.
        maximize: names of the metrics to maximise.
        minimize: names of the metrics to minimise.
        subject_to: the budget; every candidate meets it.
        candidates: in the order of evaluation; all of them, or of thousands the front and a sample.
        seed: the search's seed.
        device: where latencies were measured, as the profile says; by name where there were several.
        algorithm: the algorithm's name.
        evaluations: how many subnets were evaluated.
        history: pairs of evaluations and the hypervolume that they had reached, from 0 to 1: objectives are scaled
            from the worst value that was met to the best.
        predictors: for each metric that a `Predictor` gave in place of a measurement: its `kind`, the number `n` of
            measured subnets, and, cross-validated, `rmse` in the metric's unit and Kendall's `tau`.
    """

    supernet: str
    maximize: tuple[str, ...]
    minimize: tuple[str, ...]
    subject_to: Mapping[str, Number]
    candidates: tuple[EvaluatedSubnet, ...]
    seed: int = 0
    device: Mapping[str, Any] = field(default_factory=dict)
    algorithm: str = "evolution"
    evaluations: int = 0
    history: tuple[tuple[int, float], ...] = ()
    predictors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __repr__(self) -> str:
        """A line on the search, and one on its best subnet."""
        wanted = ", ".join([*(f"{name} ↑" for name in self.maximize), *(f"{name} ↓" for name in self.minimize)])
        within = ", ".join(f"{spell_name(name)} ≤ {spell_metric(name, most)}" for name, most in self.subject_to.items())
        search = f"{wanted} within {within}" if within else wanted
        search += f": {self.evaluations} subnets evaluated by {self.algorithm}"
        if not self.candidates:
            return f"SearchResult({search})"
        best = ", ".join(self._spelled(self.best)[1:])
        return f"SearchResult({search}, {len(self.front)} on the front,\n  best {self.best.arch.id}: {best})"

    def _repr_html_(self) -> str:
        """The front as a table, for notebooks."""
        return html_table(["arch", *map(spell_name, self._named)], [self._spelled(one) for one in self.front])

    @property
    def _named(self) -> list[str]:
        """The metrics that the search was about."""
        return list(dict.fromkeys([*self.maximize, *self.minimize, *self.subject_to]))

    def _spelled(self, candidate: EvaluatedSubnet) -> list[str]:
        """An arch's id, and its metrics with their units."""
        return [candidate.arch.id, *(_spelled(name, candidate.metrics) for name in self._named)]

    @property
    def best(self) -> EvaluatedSubnet:
        """The candidate with the best first objective; of equals, the one with the best next."""
        goals = self.goals()
        return self.candidates[int(np.lexsort(goals.T[::-1])[0])]

    @property
    def front(self) -> list[EvaluatedSubnet]:
        """The candidates that no other beats in every objective, ordered by the last one."""
        goals = self.goals()
        kept = np.flatnonzero(undominated(goals))
        first_of_equals = kept[np.sort(np.unique(goals[kept], axis=0, return_index=True)[1])]
        return [self.candidates[at] for at in sorted(first_of_equals, key=lambda at: tuple(goals[at][::-1]))]

    def check_supernet(self, supernet: Supernet) -> None:
        """Check that the search was in this supernet's space; weights don't matter.

        Raises:
            ArchError: it wasn't.
        """
        cure = "search this one with `elastic search`"
        check_digest(supernet, self.supernet, ArchError, "the search was in", cure)

    def goals(self) -> NDArray[np.float64]:
        """All objectives as numbers to minimise: `(candidates, objectives)`, the maximised ones first."""
        return goals_of([one.metrics for one in self.candidates], self.maximize, self.minimize)

    def save(self, path: str | Path) -> Path:
        """Write the result as one JSON file, atomically."""
        values = {"kind": f"elastic {_NAME}", "best": dict(self.best.arch), **to_plain(self)}
        return write_json(path, values)

    @classmethod
    def load(cls, path: str | Path) -> SearchResult:
        """The result that `save` wrote.

        Raises:
            CheckpointError: a file that is missing, truncated or something else.
        """
        found = read_record(path, cls, _NAME, "elastic search", CheckpointError, _RENAMED)
        goals = {*found.maximize, *found.minimize}
        lacking = [sorted(goals - one.metrics.keys()) for one in found.candidates]
        if not goals or not found.candidates or any(lacking):
            what = f"a candidate lacks {max(lacking)[0]}" if any(lacking) else "it has no candidates, or no goals"
            raise CheckpointError(f"{path} is a broken {_NAME}: {what}; make it again with elastic search")
        return replace(found, evaluations=found.evaluations or len(found.candidates))


def _spelled(name: str, metrics: Mapping[str, float]) -> str:
    return spell_metric(name, metrics[name]) if name in metrics else "–"


def goals_of(
    metrics: Sequence[Mapping[str, float]], maximize: Sequence[str], minimize: Sequence[str]
) -> NDArray[np.float64]:
    """Objectives as numbers to minimise, `(n, objectives)`; NaN counts as the worst."""
    raw = [[-one[name] for name in maximize] + [one[name] for name in minimize] for one in metrics]
    return np.nan_to_num(np.array(raw, dtype=np.float64), nan=math.inf, posinf=math.inf, neginf=-math.inf)
