"""A network that switches its size while it runs: one set of weights in memory, a subnet for each budget."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from elastic.errors import ArchError, BudgetError
from elastic.layers.batchnorm import recalibrate
from elastic.layers.extraction import active_modules
from elastic.layers.modules import write_active
from elastic.searching.result import SearchResult
from elastic.space.arch import Arch
from elastic.space.sizes import Number
from elastic.space.space import SearchSpace
from elastic.supernet.folder import load_supernet
from elastic.supernet.supernet import Supernet

ArchOrLimits = Mapping[str, Number]
"""An arch; or, with a search's result, what it may cost at most: `{"latency_ms": 8.0}`."""

_STATISTICS = ("running_mean", "running_var")


class Runtime:
    """Runs one of several subnets of a supernet, and switches between them without copying weights.

    `runtime = Runtime(supernet, {"2 ms": fast, "8 ms": accurate}, calibration=batches)`, then
    `runtime.switch("2 ms")` and `runtime(images)`.

    It may be called from several threads: a switch waits until what runs has run, and what is called meanwhile waits
    for the switch.

    Attributes:
        supernet: in evaluation mode; its BatchNorm statistics are those of the active budget.
        archs: the subnet of each budget, by its name.
    """

    def __init__(
        self,
        supernet: Supernet | str | Path,
        budgets: Mapping[str, ArchOrLimits],
        calibration: Iterable[Any] | None = None,
        result: SearchResult | str | Path | None = None,
    ) -> None:
        """Prepare each budget; the first is active.

        Args:
            supernet: or the folder of a trained one. It is taken over: others must leave it alone.
            budgets: by name, an arch, or with `result` the most that each metric may be.
            calibration: batches of training inputs, on the supernet's device, to re-estimate each subnet's BatchNorm
                statistics on; they are kept per budget. Without, all use the statistics that are there.
            result: what `elastic search` found, or its file: the best of its subnets that meets a budget is taken.

        Raises:
            ArchError: an arch that the supernet doesn't have, another supernet's result, or no budgets.
            BudgetError: a budget that no subnet of the result meets, or of a metric that it lacks.
        """
        if not budgets:
            raise ArchError('no budgets; give some by name, such as Runtime(supernet, {"small": arch})')
        self.supernet = (supernet if isinstance(supernet, Supernet) else load_supernet(supernet)).eval()
        found = SearchResult.load(result) if isinstance(result, (str, Path)) else result
        if found is not None:
            found.check_supernet(self.supernet)
        space = self.supernet.space
        self.archs = {name: space.arch(_arch(name, budget, space, found)) for name, budget in budgets.items()}
        batches = list(calibration) if calibration is not None else []
        self._statistics = {name: self._estimate(arch, batches) for name, arch in self.archs.items()} if batches else {}
        self._gate = _Gate()
        self._budget = ""
        self.switch(next(iter(self.archs)))

    @property
    def budget(self) -> str:
        """The name of the active budget; empty after a switch that was interrupted."""
        return self._budget

    def switch(self, budget: str) -> Arch:
        """Make a budget's subnet the active one: sizes are set, and BatchNorm statistics written; no weight is copied.

        Raises:
            ArchError: no budget of that name.
        """
        if budget not in self.archs:
            raise ArchError(f"no budget {budget!r}; there are {', '.join(map(repr, self.archs))}")
        with self._gate.alone():
            if budget != self._budget:
                self._budget = ""
                self.supernet.activate(self.archs[budget])
                with torch.no_grad():
                    for norm, values in self._statistics.get(budget, ()):
                        for name, value in zip(_STATISTICS, values, strict=True):
                            write_active(norm, name, value)
                self._budget = budget
        return self.archs[budget]

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The active subnet's output, without gradients: images `(N, C, H, W)` of any size, or text by name.

        Raises:
            ArchError: the last switch was interrupted.
        """
        with self._gate.together(), torch.inference_mode():
            if not self._budget:
                raise ArchError("the last switch was interrupted, and no budget is active; switch again")
            return self.supernet(*inputs, **named)

    def _estimate(self, arch: Arch, batches: Sequence[Any]) -> list[tuple[nn.Module, tuple[Tensor, ...]]]:
        """The statistics of a subnet's own BatchNorms."""
        with self.supernet.active(arch):
            recalibrate(self.supernet, batches)
            norms = [one for one in active_modules(self.supernet.model) if isinstance(one, _BatchNorm)]
            return [(one, tuple(getattr(one, name).clone() for name in _STATISTICS)) for one in norms if _tracks(one)]


def _tracks(norm: _BatchNorm) -> bool:
    return norm.running_mean is not None


def _arch(name: str, budget: ArchOrLimits, space: SearchSpace, result: SearchResult | None) -> ArchOrLimits:
    """The arch itself, or the best that meets the limits."""
    if result is None or set(budget) <= set(space.names):
        return budget
    metrics = {metric for one in result.candidates for metric in one.metrics}
    unknown = sorted(set(budget) - metrics)
    if unknown:
        raise BudgetError(f"the budget {name!r} limits {unknown[0]}; the result has {', '.join(sorted(metrics))}")
    within = [one for one in result.candidates if all(one.metrics[metric] <= most for metric, most in budget.items())]
    if not within:
        nearest = {metric: min(one.metrics[metric] for one in result.candidates) for metric in budget}
        raise BudgetError(f"no subnet of the result meets the budget {name!r} {dict(budget)}; the least are {nearest}")
    sign = dict.fromkeys(result.minimize, 1) | dict.fromkeys(result.maximize, -1)
    first = (*result.maximize, *result.minimize)
    return min(within, key=lambda one: tuple(sign[metric] * one.metrics[metric] for metric in first)).arch


class _Gate:
    """Lets many run together, or one alone; whoever wants to be alone is next."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._waiting = 0
        self._alone = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within the block nobody is alone."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._alone or self._waiting))
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within the block nobody else runs."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not (self._alone or self._running))
                self._alone = True
            finally:  # Ctrl-C may end the wait
                self._waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()
