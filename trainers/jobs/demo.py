"""The whole job on real handwritten digits, from training to a checked ONNX file and a report: `elastic demo`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich import get_console
from rich.table import Column, Table
from torch import nn

from elastic.formats.onnx_files import open_onnx, run_onnx
from elastic.profiles.measuring import check_profile, measure_profile
from elastic.profiles.profile import DeviceProfile
from elastic.reporting.report import Report, read_curves, write_csv, write_report
from elastic.reporting.tables import export_table, profile_table, result_table
from elastic.searching.result import EvaluatedSubnet, SearchResult
from elastic.searching.search import search
from elastic.shipping.card import ModelCard
from elastic.shipping.export import Exported
from elastic.space.arch import Arch
from elastic.space.sampling import spread_rows
from elastic.supernet.evaluation import Batch, MeasuredAccuracy, accuracy, resized, top1
from elastic.supernet.supernet import Supernet
from elastic.support.files import write_json
from elastic.support.text import short, spell_count, spell_metric
from elastic.timing.backends import prepare, torch_threads
from elastic.timing.protocol import time_runs
from elastic.timing.setting import Setting
from trainers.jobs.judge import Judge, first_images
from trainers.jobs.search import agreement, measured_again, prediction_note
from trainers.jobs.trained import open_trained
from trainers.jobs.write_subnet import extract_to

if TYPE_CHECKING:
    from trainers.data.supernet_data import SupernetData

_BUDGET, _DRAWN = 0.6, 1000
"""The budget is what this part of so many random subnets, from small to large, meets."""

_CHECKED = 12
"""The profile's predictions are checked on so many fresh subnets."""

_AGAIN = 8
"""So many subnets of the front are measured again."""

_SECONDS = 2.0
"""So long the chosen subnet is measured again."""


@dataclass(frozen=True)
class Verified:
    """What was measured of the chosen subnet after it was cut out and exported.

    Attributes:
        torch_ms: PyTorch's latency, measured.
        onnxruntime_ms: onnxruntime's.
        test_accuracy: PyTorch's on the test images, in percent.
        onnx_accuracy: onnxruntime's on the same images.
    """

    torch_ms: float
    onnxruntime_ms: float
    test_accuracy: float
    onnx_accuracy: float

    def latency_ms(self, runtime: str) -> float:
        """The measured latency on a runtime."""
        return self.torch_ms if runtime == "torch" else self.onnxruntime_ms


def run(
    folder: Path,
    config: str,
    setting: Setting,
    subnets: int,
    time_limit: float,
    population: int,
    generations: int,
    seed: int,
) -> None:
    """Do the whole job in `folder`; the arguments are the command's."""
    began = time.perf_counter()
    _say("1  Train a supernet on handwritten digits over photographs")
    train(folder, config)
    run = folder / "train"
    trained = open_trained(run)
    supernet, data = trained.supernet, trained.data()

    _say("2  Measure this machine")
    # whole subnets alone: the hundreds of different blocks would take minutes to prepare
    profile = measure_profile(supernet, setting, subnets, time_limit, blocks=0, seed=seed, progress=True)
    profile = profile.with_check(check_profile(supernet, profile, _CHECKED, time_limit / 2, seed=seed, progress=True))
    profile.save(folder / "profile.json")
    get_console().print(profile_table(profile, supernet))

    predicted = profile.latency_ms(supernet, spread_rows(supernet.space, seed, _DRAWN))
    budget = {"latency_ms": float(np.quantile(predicted, _BUDGET))}
    _say(f"3  Search the best subnet that takes {budget['latency_ms']:.3g} ms at most")
    judge = Judge(supernet, data)
    result = search(
        supernet,
        subject_to=budget,
        evaluate=judge.validation,
        profile=profile,
        population=population,
        generations=generations,
        seed=seed,
        cache=folder / "evaluated.jsonl",
        progress=True,
    )
    result = measured_again(supernet, result, judge, {"": profile}, _AGAIN, seed)
    result.save(folder / "search.json")
    write_csv(result, folder / "search.csv")
    get_console().print(result_table(result))

    _say("4  Cut it out, export it, and check the files")
    chosen = result.best
    subnet = judge.validation.subnet(chosen.arch)
    data_name = "scikit-learn's digits over its photographs"
    card = ModelCard(f"Digits over photographs, subnet {chosen.arch.id}", chosen.metrics, data=data_name)
    written = extract_to(trained, subnet, chosen.arch, folder / "subnet", ["safetensors", "onnx"], card, data)
    onnx = written.folder / "model.onnx"
    verified = _verify(supernet, chosen.arch, subnet, onnx, data, setting.batch_size)
    write_json(folder / "verified.json", vars(verified))
    get_console().print(export_table(written))

    report = describe(supernet, profile, result, judge.validation, verified, folder, config)
    write_report(report, folder / "report.html")
    _say(f"Done in {time.perf_counter() - began:.0f} s")
    get_console().print(_outcome(chosen, verified, written), _where(folder))


def train(folder: Path, config: str) -> None:
    """Train into `folder/train`, from where an earlier run ended."""
    from trainers import fitting

    words = ["fit", "--config", config, "--runs", str(folder), "--name", "train"]
    if (folder / "train" / "last.ckpt").exists():
        words += ["--ckpt_path", "last"]
    fitting.train(words)


def _verify(
    supernet: Supernet, arch: Arch, subnet: nn.Module, onnx: Path, data: SupernetData, batch_size: int = 1
) -> Verified:
    """Measure the extracted subnet and its ONNX file: latency, and accuracy on images that chose nothing."""
    batches = first_images(data.test_dataloader(), 1 << 30)
    images = resized(supernet, arch, [one for one, _ in batches])
    sized: list[Batch] = [(one, labels) for one, (_, labels) in zip(images, batches, strict=True)]
    session, single = open_onnx(onnx, threads=1), open_onnx(onnx, threads=1, batch_size=batch_size)
    shipped = top1((torch.from_numpy(run_onnx(session, [one])[0]), labels) for one, labels in sized)
    one = torch.cat(images)[:batch_size]
    feeds = {single.get_inputs()[0].name: one.numpy()}
    with torch_threads(1):
        runs = [prepare(subnet, [one], Setting(batch_size=batch_size)), lambda: single.run(None, feeds)]
        plain, exported = time_runs(runs, _SECONDS, tolerance=0.01)
    return Verified(plain.median_ms, exported.median_ms, accuracy(subnet, sized), shipped)


def describe(
    supernet: Supernet,
    profile: DeviceProfile,
    result: SearchResult,
    evaluate: MeasuredAccuracy,
    verified: Verified,
    folder: Path,
    config: str,
) -> Report:
    """The report's content."""
    space, best = supernet.space, result.best
    corners = [space.smallest, space.largest]
    latency = profile.latency_ms(supernet, corners)
    marks = {
        name: EvaluatedSubnet(arch, {"accuracy": evaluate(arch)["accuracy"], "latency_ms": float(ms)})
        for name, arch, ms in zip(("smallest", "largest"), corners, latency, strict=True)
    }
    device, setting = profile.device, profile.setting
    runtime = f"{setting.runtime} {device[setting.runtime]}"
    where = f"{device['processor']}, {setting.threads} thread, batch {setting.batch_size}, {runtime}"
    logs = sorted((folder / "train").glob("csv/version_*/metrics.csv"))
    return Report(
        title="Digits over photographs: one training, every latency",
        supernet=supernet,
        result=result,
        summary={
            "test accuracy": spell_metric("accuracy", verified.test_accuracy),
            "latency, measured": spell_metric("latency_ms", verified.latency_ms(setting.runtime)),
            "parameters": short(best.metrics["params"]),
            "MACs": short(best.metrics["macs"]),
            "subnets to choose from": spell_count(space.size),
        },
        steps=_steps(folder, config, result),
        curves={} if not logs else read_curves(logs[-1]),
        marks=marks,
        agreement=agreement(result, {"": profile}),
        notes=f"Latency on {where}: predicted from {len(profile.subnets)} measured subnets. Accuracy in the chart is "
        "measured on the validation images, that on top on the test images, which chose nothing.",
        front_notes=prediction_note(profile, supernet),
    )


def _steps(folder: Path, config: str, result: SearchResult) -> list[tuple[str, str]]:
    run, limit = folder / "train", result.subject_to["latency_ms"]
    return [
        ("Everything on this page", f"elastic demo --out {folder}"),
        ("Train the supernet", f"elastic fit --config {config} --runs {folder} --name train"),
        (
            "Measure the machine",
            f"elastic profile {run} --runtime {result.device['runtime']} --batch_size {result.device['batch_size']}"
            f" --blocks 0 --out {folder / 'profile.json'}",
        ),
        (
            "Search within the budget",
            f"elastic search {run} --profile {folder / 'profile.json'} --budget latency_ms={limit:.3g}"
            f" --out {folder / 'search.json'}",
        ),
        (
            "Cut the best one out and export it",
            f"elastic extract {run} --result {folder / 'search.json'} --formats onnx --out {folder / 'subnet'}",
        ),
    ]


def _say(text: str) -> None:
    get_console().rule(text, align="left")


def _outcome(chosen: EvaluatedSubnet, verified: Verified, written: Exported) -> Table:
    table = Table("the chosen subnet", chosen.arch.id)
    table.add_row("latency, predicted", spell_metric("latency_ms", chosen.metrics["latency_ms"]))
    table.add_row("measured again: onnxruntime", spell_metric("latency_ms", verified.onnxruntime_ms))
    table.add_row("measured again: PyTorch", spell_metric("latency_ms", verified.torch_ms))
    table.add_row("accuracy on the test images: PyTorch", spell_metric("accuracy", verified.test_accuracy))
    table.add_row("accuracy on the test images: onnxruntime", spell_metric("accuracy", verified.onnx_accuracy))
    table.add_row("ONNX against PyTorch", f"{written.files['model.onnx']['difference']['largest']:.1e} at most")
    return table


def _where(folder: Path) -> Table:
    table = Table("what", Column("where", overflow="fold"))
    for what, name in (
        ("report: open it in a browser", "report.html"),
        ("ONNX", "subnet/model.onnx"),
        ("weights, configuration, card", "subnet/"),
        ("search result, and as a table", "search.json, search.csv"),
        ("device profile", "profile.json"),
        ("trained supernet, checkpoint, curves", "train/"),
    ):
        table.add_row(what, str(folder / name))
    return table
