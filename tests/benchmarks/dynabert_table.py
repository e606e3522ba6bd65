"""DynaBERT on SST-2: the twelve pairs of width and depth, and widths free in each layer against one for all.

    python tests/benchmarks/dynabert_table.py runs/dynabert_sst2
    python tests/benchmarks/dynabert_table.py runs/dynabert_sst2 --alone      each pair trained alone, too: takes hours

The run is one of `elastic fit --config dynabert_sst2`, the texts are its own. Subnets are chosen on held-out training
texts and reported on the development split, which chose nothing; ± is the standard error of its 872 texts.
"""

import argparse
import itertools
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

from lightning.pytorch import Trainer

import elastic
import zoo
from elastic import Arch, Supernet, load_supernet
from elastic.evaluation import MeasuredAccuracy
from elastic.storage import load_source
from trainers import Curriculum, NoDistiller, OptimizerOptions, Phase, StepOptions, SupernetModule, UniformSampler
from trainers.data import SupernetData
from trainers.deploy import load_data

WIDTHS, DEPTHS = (0.25, 0.5, 0.75, 1.0), (0.5, 0.75, 1.0)
BUDGETS = ((0.25, 1.0), (0.5, 1.0), (0.75, 1.0))
"""Pairs whose MACs are budgets for the search."""


def pairs(supernet: Supernet) -> dict[tuple[float, float], Arch]:
    """DynaBERT's twelve subnets by width and depth."""
    return {
        (width, depth): zoo.to_arch(supernet, {"width": width, "depth": depth})
        for width, depth in itertools.product(WIDTHS, DEPTHS)
    }


def spell(percent: float, n: int) -> str:
    """An accuracy with its standard error."""
    return f"{percent:.2f} ± {math.sqrt(percent * (100 - percent) / n):.2f}"


def twelve(supernet: Supernet, data: SupernetData, alone: dict[str, float]) -> str:
    """A row per pair."""
    dev = MeasuredAccuracy(supernet, data.test_dataloader())
    n = sum(len(labels) for _, labels in dev.validation)
    lines = ["| width | depth | parameters | MACs | in the supernet, % | alone, % |", "|---|---|---|---|---|---|"]
    for (width, depth), arch in pairs(supernet).items():
        macs, params = supernet.macs([arch])[0] / 1e6, supernet.params([arch])[0] / 1e6
        lone = alone.get(f"{width} {depth}")
        lines.append(
            f"| {width} | {depth} | {params:.2f} M | {macs:.1f} M | {spell(dev(arch)['accuracy'], n)} "
            f"| {'–' if lone is None else spell(lone, n)} |"
        )
    return "\n".join(lines)


def free_and_uniform(supernet: Supernet, data: SupernetData, seed: int) -> str:
    """A row per budget: the best uniform subnet within it, and the best that a search over free widths finds."""
    held_out, dev = (
        MeasuredAccuracy(supernet, loader) for loader in (data.val_dataloader(), data.test_dataloader())
    )
    n, all_pairs = sum(len(labels) for _, labels in dev.validation), list(pairs(supernet).values())
    costs = supernet.macs(all_pairs)
    lines = [
        "| MACs, at most | uniform: held out | development split | free: held out | development split |",
        "|---|---|---|---|---|",
    ]
    for width, depth in BUDGETS:
        most = int(supernet.macs([pairs(supernet)[width, depth]])[0])
        within = [arch for arch, macs in zip(all_pairs, costs, strict=True) if macs <= most]
        uniform = max(within, key=lambda arch: held_out(arch)["accuracy"])
        found = elastic.search(
            supernet, minimize=["macs"], subject_to={"macs": most}, evaluate=held_out, population=24, generations=6,
            seed=seed, progress=True,
        )  # fmt: skip
        cells = [
            cell for arch in (uniform, found.best.arch)
            for cell in (f"{held_out(arch)['accuracy']:.2f}", spell(dev(arch)["accuracy"], n))
        ]  # fmt: skip
        lines.append(f"| {most / 1e6:.1f} M | {' | '.join(cells)} |")
    return "\n".join(lines)


def train_alone(folder: Path, data_file: Path, arch: Arch, epochs: int) -> float:
    """Accuracy on the development split of one subnet, trained alone from random weights."""


    data = load_data(data_file)
    phase = Phase("alone", epochs, 5e-4, 0.2, schedule="linear")
    module = SupernetModule(
        replace(load_source(folder), arch=dict(arch)), Curriculum([phase], batch_size=64), UniformSampler(1),
        NoDistiller(), optimizer=OptimizerOptions("adamw", weight_decay=0.01, clip_value=None, clip_norm=1.0),
        step=StepOptions(dropout="all"),
    )  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, limit_val_batches=0, num_sanity_val_steps=0, logger=False,
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    alone = module.supernet.eval()
    return MeasuredAccuracy(alone, data.test_dataloader())(alone.space.largest)["accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of the training")
    parser.add_argument("--alone", action="store_true", help="train each pair alone, too")
    parser.add_argument("--epochs", type=int, default=7, help="of each lone training: as many as the supernet's")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    supernet, config = load_supernet(given.run), given.run / "config.yaml"
    kept = given.run / "alone.json"
    alone = json.loads(kept.read_text()) if kept.exists() else {}
    for (width, depth), arch in pairs(supernet).items() if given.alone else ():
        if f"{width} {depth}" not in alone:
            alone[f"{width} {depth}"] = train_alone(given.run, config, arch, given.epochs)
            kept.write_text(json.dumps(alone))
    data = load_data(config)
    sys.stdout.write(f"{twelve(supernet, data, alone)}\n\n{free_and_uniform(supernet, data, given.seed)}\n")


if __name__ == "__main__":
    main()
