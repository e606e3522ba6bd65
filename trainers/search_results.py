"""What is done with a search's result: measured again, compared with predictions, summarised for a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import get_console

from elastic.profiles.profile import DeviceProfile
from elastic.reporting.charts import Pairs
from elastic.searching.budget import latency_name
from elastic.searching.result import SearchResult
from elastic.searching.verification import is_here, verify
from elastic.supernet.supernet import Supernet
from elastic.support.text import spell_count, spell_figure, spell_name
from trainers.judging import Judge

Profiles = Mapping[str, DeviceProfile]


def measured_again(
    supernet: Supernet, result: SearchResult, judge: Judge, profiles: Profiles, subnets: int, seed: int = 0
) -> SearchResult:
    """The front measured again: accuracy on fresh images, latency on this device where a profile is of it."""
    if subnets < 1:
        return result
    local = {name: one for name, one in profiles.items() if is_here(one)}
    name, here = next(iter(local.items()), ("", None))
    if profiles and here is None:
        get_console().print("[yellow]latency isn't measured again: no profile is this device's[/]")
    return verify(
        supernet, result, judge.fresh, here, subnets, seed=seed, progress=True, latency=latency_name(name)
    )  # fmt: skip


def agreement(result: SearchResult, profiles: Profiles) -> dict[str, Pairs]:
    """Predicted and measured latencies: of the front, and of the random subnets that a profile was checked with."""
    found: dict[str, Pairs] = {}
    for name, one in profiles.items():
        figure = latency_name(name)
        pairs: dict[str, Any] = {}
        if one.checks:
            last = one.checks[-1]
            pairs["random subnets"] = list(last.predicted_ms), last.measured_ms.tolist()
        again = [c for c in result.candidates if figure in c.measured]
        if again:
            pairs["the front"] = [c.figures[figure] for c in again], [c.measured[figure] for c in again]
        if pairs:
            found[figure] = pairs
    return found


def summarize(supernet: Supernet, result: SearchResult) -> dict[str, str]:
    """The figures of a search's best, for the top of its report."""
    figures: dict[str, Any] = dict(result.best.figures)
    shown = [*result.maximize, *result.minimize, "params", "macs"]
    summary = {spell_name(name): spell_figure(name, figures[name]) for name in dict.fromkeys(shown)}
    again = {f"{spell_name(name)}, measured again": spell_figure(name, v) for name, v in result.best.measured.items()}
    return {**summary, **again, "subnets in all": spell_count(supernet.space.size)}


def prediction_note(profile: DeviceProfile, supernet: Supernet) -> str:
    """How far predicted latencies are from measured ones, for a report."""
    if not profile.subnets:
        return "Latencies are sums of a table's blocks; no whole subnet was measured."
    error = profile.prediction_error(supernet)
    return (
        f"Latencies are predicted; cross-validated over {error.n} measured subnets, the prediction is off by "
        f"{error.mape:.1f} % on average, with Kendall τ {error.tau:.2f}."
    )


def predictor_note(name: str, facts: Mapping[str, Any]) -> str:
    """How far a predicted figure is from a measured one, by `SearchResult.predictors`."""
    return (
        f"{spell_name(name).capitalize()} is predicted ({facts['kind']}); cross-validated over {facts['n']} measured "
        f"subnets, it is off by {spell_figure(name, facts['rmse'])} (root mean square), "
        f"with Kendall τ {facts['tau']:.2f}."
    )
