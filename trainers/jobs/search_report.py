"""The page of `elastic search --report`: the front between the smallest and the largest subnet, how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elastic.reporting.charts import Curves, Pairs
from elastic.reporting.report import Report, read_curves
from elastic.searching.budget import CostModel
from elastic.searching.limits import latency_name
from elastic.searching.result import EvaluatedSubnet, SearchResult
from elastic.supernet.supernet import Supernet
from elastic.support.text import spell_count, spell_metric, spell_name
from trainers.jobs.goals import Goals, Profiles
from trainers.jobs.judge import Judge
from trainers.jobs.trained import Trained

if TYPE_CHECKING:
    from elastic.profiles.profile import DeviceProfile


def describe(trained: Trained, result: SearchResult, judge: Judge, goals: Goals, out: str) -> Report:
    """The page's content; measures the smallest and the largest subnet, which are shown beside the front."""
    budget = ",".join(f"{name}={value:g}" for name, value in goals.budget.items())
    notes = [prediction_note(one, trained.supernet) for one in goals.profiles.values()]
    return Report(
        f"Subnets of {trained.place}",
        trained.supernet,
        result,
        summarize(trained.supernet, result),
        [("search", f"elastic search {trained.place} --budget {budget or '…'} --out {out}")],
        curves=training_curves(trained.place),
        marks=extremes(trained.supernet, result, judge, goals.profiles),
        agreement=agreement(result, goals.profiles),
        notes=" ".join(starmap(_where, goals.profiles.items())),
        front_notes=" ".join([*notes, *starmap(predictor_note, result.predictors.items())]),
    )


def training_curves(run: str) -> Curves:
    """The curves of a run's last training; none where `run` isn't a run's folder."""
    logs = sorted(Path(run).glob("csv/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    return read_curves(logs[-1]) if logs else {}


def extremes(supernet: Supernet, result: SearchResult, judge: Judge, profiles: Profiles) -> dict[str, EvaluatedSubnet]:
    """The smallest and the largest subnet with the metrics that were searched by; latencies are predicted."""
    archs = {"smallest": supernet.space.smallest, "largest": supernet.space.largest}
    model = CostModel(supernet, profiles or None)
    names = {*result.maximize, *result.minimize} & {*model.names}
    costs = model(supernet.space.encode(list(archs.values())), names)
    return {
        name: EvaluatedSubnet(arch, {**{cost: float(of[k]) for cost, of in costs.items()}, **judge.validation(arch)})
        for k, (name, arch) in enumerate(archs.items())
    }


def _where(name: str, profile: DeviceProfile) -> str:
    device, setting = profile.device, profile.setting
    threads = f"{setting.threads} thread" + ("s" if setting.threads > 1 else "")
    return (
        f"{spell_name(latency_name(name)).capitalize()} on {device.get('processor', 'another device')}, {threads}, "
        f"batch {setting.batch_size}, {setting.runtime} {device.get(setting.runtime, '')}".rstrip()
        + "."
    )


def agreement(result: SearchResult, profiles: Profiles) -> dict[str, Pairs]:
    """Predicted and measured latencies: of the front, and of the random subnets that a profile was checked with."""
    found: dict[str, Pairs] = {}
    for name, one in profiles.items():
        metric = latency_name(name)
        pairs: dict[str, Any] = {}
        if one.checks:
            last = one.checks[-1]
            pairs["random subnets"] = list(last.predicted_ms), last.measured_ms.tolist()
        again = [c for c in result.candidates if metric in c.measured]
        if again:
            pairs["the front"] = [c.metrics[metric] for c in again], [c.measured[metric] for c in again]
        if pairs:
            found[metric] = pairs
    return found


def summarize(supernet: Supernet, result: SearchResult) -> dict[str, str]:
    """The metrics of a search's best, for the top of its report."""
    metrics: dict[str, Any] = dict(result.best.metrics)
    shown = [*result.maximize, *result.minimize, "params", "macs"]
    summary = {spell_name(name): spell_metric(name, metrics[name]) for name in dict.fromkeys(shown)}
    again = {f"{spell_name(name)}, measured again": spell_metric(name, v) for name, v in result.best.measured.items()}
    return {**summary, **again, "subnets in all": spell_count(supernet.space.size)}


def prediction_note(profile: DeviceProfile, supernet: Supernet) -> str:
    """A sentence on the error of predicted latencies, for a report."""
    if not profile.subnets:
        return "Latencies are sums of a table's blocks; no whole subnet was measured."
    error = profile.prediction_error(supernet)
    return (
        f"Latencies are predicted; cross-validated over {error.n} measured subnets, the prediction is off by "
        f"{error.mape:.1f} % on average, with Kendall τ {error.tau:.2f}."
    )


def predictor_note(name: str, facts: Mapping[str, Any]) -> str:
    """A sentence on the error of a predicted metric, from `SearchResult.predictors`."""
    return (
        f"{spell_name(name).capitalize()} is predicted ({facts['kind']}); cross-validated over {facts['n']} measured "
        f"subnets, it is off by {spell_metric(name, facts['rmse'])} (root mean square), "
        f"with Kendall τ {facts['tau']:.2f}."
    )
