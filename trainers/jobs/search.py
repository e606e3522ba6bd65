"""The work of `elastic search`: search by measured metrics, re-measure the best, and write the results."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

from elastic.errors import UsageError
from elastic.prediction.predictor import check_count
from elastic.reporting.report import write_csv, write_report
from elastic.reporting.tables import result_table
from elastic.searching.algorithms import check_algorithm
from elastic.searching.learning import learn_predictors
from elastic.searching.limits import latency_name
from elastic.searching.result import SearchResult
from elastic.searching.search import search
from elastic.searching.verification import is_here, remeasure_front
from elastic.supernet.supernet import Supernet
from elastic.support.console import show
from elastic.support.text import names_in
from elastic.timing.backends import torch_threads
from trainers.jobs.goals import Goals, Profiles, check_names, metrics_on_offer
from trainers.jobs.judge import Judge
from trainers.jobs.search_report import describe, predictor_note
from trainers.jobs.trained import Trained
from trainers.jobs.write_subnet import write_subnet
from trainers.robust.attacks import Threat, find_attack


@dataclass(frozen=True)
class Effort:
    """Algorithm and effort of a search.

    Attributes:
        algorithm: as for `elastic.search`.
        population: subnets per generation.
        generations: number of generations.
        predictor: random subnets that metrics are learned from; 0: each evaluated subnet is measured.
        again: subnets of the front that are measured again.
        again_seconds: how long their latencies are measured, at most.
        threads: threads for measuring.
        seed: random seed of the subnets.
    """

    algorithm: str | None
    population: int
    generations: int
    predictor: int
    again: int
    again_seconds: float
    threads: int
    seed: int

    def __post_init__(self) -> None:
        check_algorithm(self.algorithm)
        for name in ("population", "generations", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} {getattr(self, name)}: wanted 1 or more")
        if self.again < 0:
            raise UsageError(f"--again {self.again}: wanted 0, which measures none again, or more")
        if self.again_seconds < 0:
            raise UsageError(f"--again_seconds {self.again_seconds:g}: wanted 0 or more")
        if self.predictor:
            check_count(self.predictor)


@dataclass(frozen=True)
class Judging:
    """Data and attacks that subnets are judged on.

    Attributes:
        data: as for `Trained.data`.
        images: largest number of images.
        threat: what attacks are allowed where the accuracy under attack is measured, too.
        again: the attack of the second measurement.
    """

    data: str | None
    images: int
    threat: Threat | None
    again: str

    def __post_init__(self) -> None:
        if self.images < 1:
            raise UsageError(f"--images {self.images}: wanted 1 or more")
        if self.threat is not None:
            find_attack(self.again, self.threat.norm)

    def judge(self, trained: Trained) -> Judge:
        """Measures the subnets of `trained`."""
        data = trained.data(self.data)
        return Judge(trained.supernet, data, self.images, self.threat, self.again, trained.recalibrate)

    def cache(self, judge: Judge, out: str) -> Path:
        """The file beside `out` that keeps what was measured: of one way of measuring, on these very examples."""
        attacked = "" if self.threat is None else f"-{self.threat.norm}-{self.threat.radius!r}"
        return Path(out).with_suffix(f".{self.images}-images-{judge.digest}{attacked}.jsonl")


@dataclass(frozen=True)
class Outputs:
    """The files that are written beside the result.

    Attributes:
        out: the result itself.
        csv: a table of all evaluated subnets.
        report: an HTML page.
        extract: a folder for the best subnet.
        formats: of its files, separated by commas.
    """

    out: str
    csv: str | None
    report: str | None
    extract: str | None
    formats: str


def find_best(
    supernet: Supernet, judge: Judge, goals: Goals, effort: Effort, cache: str | Path, out: str
) -> SearchResult:
    """Search, and measure the front again; both results are saved as `out`.

    Raises:
        BudgetError: a metric that the data isn't judged by.
    """
    latencies = [latency_name(name) for name in goals.profiles]
    wanted = judge.metrics if goals.maximize is None else names_in(goals.maximize)
    least = (latencies or ["macs"]) if goals.minimize is None else names_in(goals.minimize)
    offered = metrics_on_offer(goals.profiles, False, judge.metrics)
    for option, names in (("--maximize", wanted), ("--minimize", least), ("--budget", goals.budget)):
        check_names(option, names, offered)
    with torch_threads(effort.threads):
        learned = {}
        if effort.predictor:
            learned = learn_predictors(
                supernet, judge.validation, effort.predictor, seed=effort.seed, cache=cache, progress=True
            )
        result = search(
            supernet,
            maximize=wanted,
            minimize=least,
            subject_to=goals.budget,
            evaluate=None if learned else judge.validation,
            profile=goals.profiles or None,
            predict=learned,
            algorithm=effort.algorithm,
            population=effort.population,
            generations=effort.generations,
            cache=cache,
            seed=effort.seed,
            progress=True,
        )
        result.save(out)
        result = measured_again(supernet, result, judge, goals.profiles, effort)
        result.save(out)
    return result


def measured_again(
    supernet: Supernet, result: SearchResult, judge: Judge, profiles: Profiles, effort: Effort
) -> SearchResult:
    """The front measured again: accuracy on fresh images, latency on this device where a profile is of it."""
    if effort.again < 1:
        return result
    local = {name: one for name, one in profiles.items() if is_here(one)}
    name, here = next(iter(local.items()), ("", None))
    if profiles and here is None:
        show("latency isn't measured again: no profile is this device's", style="yellow")
    return remeasure_front(
        supernet,
        result,
        judge.fresh,
        here,
        effort.again,
        effort.again_seconds,
        effort.seed,
        progress=True,
        latency=latency_name(name),
    )


# --- what comes of it ------------------------------------------------------------------------------------------------


def write_results(
    trained: Trained, result: SearchResult, judge: Judge, goals: Goals, outputs: Outputs, data: str | None
) -> None:
    """Show a search's result, and write the files that were asked for."""
    show(result_table(result))
    for note in starmap(predictor_note, result.predictors.items()):
        show(note)
    if outputs.extract is None:
        words = f"elastic extract {trained.place} --result {outputs.out}" + ("" if data is None else f" --data {data}")
        show(f"search: {outputs.out}; cut the best out with: {words}")
    else:
        subnet = judge.validation.subnet(result.best.arch)
        best = result.best
        write_subnet(trained, subnet, best.arch, best.metrics, outputs.extract, outputs.formats, judge.data)
    if outputs.csv is not None:
        show(f"table: {write_csv(result, outputs.csv)}")
    if outputs.report is not None:
        page = describe(trained, result, judge, goals, outputs.out)
        show(f"report: {write_report(page, outputs.report)}")
