"""DynaBERT on a task of GLUE: the twelve pairs of width and depth, and widths free in each layer against one for all.

    python tests/benchmarks/dynabert_table.py runs/dynabert_sst2
    python tests/benchmarks/dynabert_table.py runs/dynabert_sst2 --alone      each pair trained alone, too: takes hours

The run is one of `elastic fit --config dynabert_sst2`, the texts and the metric (× 100) are its own. Subnets are chosen
on held-out training texts and reported on the development split, which chose nothing; ± is the standard error over its
texts, by bootstrap.
"""

import argparse
import functools
import itertools
import json
import statistics
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
import yaml
from lightning.pytorch import Trainer
from torch import nn

import elastic
import zoo
from elastic import Arch, Supernet, load_supernet
from elastic.supernet.evaluation import Batch, MeasuredAccuracy
from elastic.supernet.folder import read_description
from elastic.supernet.source import SupernetSource
from elastic.support.inputs import predict
from trainers import Curriculum, NoDistiller, OptimizerOptions, Phase, StepOptions, SupernetModule, UniformSampler
from trainers.data.metrics import answers, make_metric, measure
from trainers.data.supernet_data import SupernetData
from trainers.jobs.data_section import load_data

RESAMPLES = 200
WIDTHS, DEPTHS = (0.25, 0.5, 0.75, 1.0), (0.5, 0.75, 1.0)
BUDGETS = ((0.25, 1.0), (0.5, 1.0), (0.75, 1.0))
"""Pairs whose MACs are budgets for the search."""


def pairs(supernet: Supernet) -> dict[tuple[float, float], Arch]:
    """DynaBERT's twelve subnets by width and depth."""
    return {
        (width, depth): zoo.to_arch(supernet, {"width": width, "depth": depth})
        for width, depth in itertools.product(WIDTHS, DEPTHS)
    }


def judge(supernet: Supernet, data: SupernetData, split: str) -> MeasuredAccuracy:
    """By the task's metric, on the development split or on held-out training texts."""
    loader = data.test_dataloader() if split == "dev" else data.val_dataloader()
    return MeasuredAccuracy(supernet, loader, metric=data.metric, measure=functools.partial(measure, data.metric))


def with_error(model: nn.Module, batches: Iterable[Batch], metric: str) -> list[float]:
    """The metric, and its standard error."""
    with torch.inference_mode():
        pairs = [(answers(predict(model, inputs)), labels) for inputs, labels in batches]
    found, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    random = torch.Generator().manual_seed(0)
    draws = [torch.randint(len(labels), (len(labels),), generator=random) for _ in range(RESAMPLES)]
    values = [float(make_metric(metric, 2)(found[one], labels[one])) for one in (torch.arange(len(labels)), *draws)]
    return [100 * values[0], 100 * statistics.stdev(values[1:])]


def spell(value: float, error: float) -> str:
    return f"{value:.2f} ± {error:.2f}"


def twelve(supernet: Supernet, data: SupernetData, alone: dict[str, list[float]]) -> str:
    """A row per pair."""
    dev = judge(supernet, data, "dev")
    title = f"in the supernet, {data.metric}"
    lines = [f"| width | depth | parameters | MACs | {title} | alone |", "|---|---|---|---|---|---|"]
    for (width, depth), arch in pairs(supernet).items():
        macs, params = supernet.macs([arch])[0] / 1e6, supernet.params([arch])[0] / 1e6
        lone = alone.get(f"{width} {depth}")
        lines.append(
            f"| {width} | {depth} | {params:.2f} M | {macs:.1f} M "
            f"| {spell(*with_error(dev.subnet(arch), dev.validation, data.metric))} "
            f"| {'–' if lone is None else spell(*lone)} |"
        )
    return "\n".join(lines)


def free_and_uniform(supernet: Supernet, data: SupernetData, seed: int) -> str:
    """A row per budget: the best uniform subnet within it, and the best that a search over free widths finds."""
    held_out, dev, metric = judge(supernet, data, "held out"), judge(supernet, data, "dev"), data.metric
    measured = functools.cache(held_out)
    all_pairs = list(pairs(supernet).values())
    costs = supernet.macs(all_pairs)
    lines = [
        "| MACs, at most | uniform: held out | development split | free: held out | development split |",
        "|---|---|---|---|---|",
    ]
    for width, depth in BUDGETS:
        most = int(supernet.macs([pairs(supernet)[width, depth]])[0])
        within = [arch for arch, macs in zip(all_pairs, costs, strict=True) if macs <= most]
        uniform = max(within, key=lambda arch: measured(arch)[metric])
        found = elastic.search(
            supernet, maximize=[metric], minimize=["macs"], subject_to={"macs": most}, evaluate=measured,
            population=24, generations=6, seed=seed, progress=True,
        )  # fmt: skip
        cells = [
            cell for arch in (uniform, found.best.arch)
            for cell in (f"{measured(arch)[metric]:.2f}", spell(*with_error(dev.subnet(arch), dev.validation, metric)))
        ]  # fmt: skip
        lines.append(f"| {most / 1e6:.1f} M | {' | '.join(cells)} |")
    return "\n".join(lines)


def train_alone(folder: Path, arch: Arch) -> list[float]:
    """The metric on the development split, and its error, of one subnet, trained alone for as many epochs."""
    config = folder / "config.yaml"
    data, trained = load_data(config), yaml.safe_load(config.read_text("utf-8"))["model"]["curriculum"]
    first, epochs = trained["phases"][0], sum(phase["epochs"] for phase in trained["phases"])
    epochs = max(round(epochs * trained["scale"]), 1)
    phase = Phase("alone", epochs, first["learning_rate"], first["warmup_epochs"], schedule="linear")
    source = SupernetSource.from_dict(read_description(folder)["source"])
    module = SupernetModule(
        replace(source, arch=dict(arch)), Curriculum([phase], batch_size=64), UniformSampler(1),
        NoDistiller(), optimizer=OptimizerOptions("adamw", weight_decay=0.01, clip_value=None, clip_norm=1.0),
        step=StepOptions(dropout="all"),
    )  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, limit_val_batches=0, num_sanity_val_steps=0, logger=False,
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    dev = judge(module.supernet.eval(), data, "dev")
    return with_error(dev.subnet(module.supernet.space.largest), dev.validation, data.metric)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of the training")
    parser.add_argument("--alone", action="store_true", help="train each pair alone, too")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    supernet, config = load_supernet(given.run), given.run / "config.yaml"
    kept = given.run / "alone.json"
    alone = json.loads(kept.read_text()) if kept.exists() else {}
    for (width, depth), arch in pairs(supernet).items() if given.alone else ():
        if f"{width} {depth}" not in alone:
            torch.manual_seed(given.seed)
            alone[f"{width} {depth}"] = train_alone(given.run, arch)
            kept.write_text(json.dumps(alone))
    data = load_data(config)
    sys.stdout.write(f"{twelve(supernet, data, alone)}\n\n{free_and_uniform(supernet, data, given.seed)}\n")


if __name__ == "__main__":
    main()
