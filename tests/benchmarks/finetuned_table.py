"""An ImageNet-pretrained EfficientNet-Lite0 becomes an elastic CIFAR-10 classifier: a Markdown table.

    python tests/benchmarks/finetuned_table.py --data FOLDER --setting cifar10 --passes N

FOLDER has `weights/tf_efficientnet_lite0_fp16.safetensors` and `cifar10_20k_5k.npz`; images are enlarged to 96 pixels.
The supernet is fine-tuned as its largest subnet first, then all of it by the sandwich rule with in-place distillation;
N passes of one image through one subnet in all. Alone, a subnet is cut out of the pretrained supernet, sorted by
importance, and fine-tuned for as many optimiser steps as the supernet takes, or for its share of the passes. Pruned,
it is the pretrained network, as the package torch-pruning prunes it to the subnet's MACs (every layer by the same
share, smallest weights first), at the full or at the subnet's resolution, fine-tuned for as many steps.
Results are kept as `methods_table.py` keeps them, and a training that was killed goes on from its last epoch.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from images import Task, load_images, train_and_measure
from sittings import Log, accuracy_table, in_sittings, ladder, quiet, table_parser
from torch import nn

import elastic
from elastic import Arch, Supernet
from elastic.layout.recipe import Recipe
from elastic.supernet.registry import register_supernets
from elastic.supernet.source import SupernetSource
from trainers import (
    Curriculum,
    InPlaceTeacher,
    NoDistiller,
    OptimizerOptions,
    Phase,
    SandwichSampler,
    SoftTargets,
    StepOptions,
    SupernetModule,
    UniformSampler,
)

MODEL, FULL_SIDE, BATCH, MIDDLES = "tf_efficientnet_lite0", 96, 32, 2
FIRST, THEN, WARMUP = 5, 15, 0.5
"""Epochs as the largest subnet, those of all subnets, and of those the first ones with a rising learning rate."""

SUPERNET, SMOOTHING = "supernet", 0.1
STEPS_SHARE = (FIRST + THEN) / (FIRST + 3 * THEN)
"""Steps of the supernet × batch size / its passes: a step of the sandwich takes three subnets."""

ALONE = {"as many steps": STEPS_SHARE, "its share of the passes": 1 / (MIDDLES + 2)}
PRUNED = ("pruned at 96 pixels", "pruned at its resolution")


# --- networks -----------------------------------------------------------------------------------------------


def pretrained(data: Path) -> dict[str, Any]:
    """Arguments of timm's model: ten classes, ImageNet's weights otherwise."""
    weights = data / "weights" / "tf_efficientnet_lite0_fp16.safetensors"
    return {"num_classes": 10, "pretrained": True, "pretrained_cfg_overlay": {"file": str(weights)}}


def elastic_source(data: Path) -> SupernetSource:
    """Elastic in depth, width, expansion, kernel and resolution."""
    choices = {"mid": [0.75, 0.875, 1.0], "width": [0.9, 1.0], "stem": None, "head": None}
    size = {"input_size": [3, FULL_SIDE, FULL_SIDE], "resolutions": [64, 80, FULL_SIDE]}
    return SupernetSource(MODEL, pretrained(data), choices=choices, options=size)


def subnets(supernet: Supernet) -> dict[str, Arch]:
    """Those that the table compares."""
    return ladder(supernet, list(dict.fromkeys(supernet.space.sample(0, 400))), MIDDLES)


@dataclass(frozen=True)
class Pruned:
    """A supernet of one, by name: the pretrained network pruned to at most `macs`, for images of `side` pixels."""

    license: str = "Apache-2.0"

    def build(self, data: str, macs: int, side: int) -> tuple[nn.Module, Recipe]:
        low, high = 0.0, 0.95  # shares of the channels to remove
        while high - low > 0.005:
            middle = (low + high) / 2
            low, high = (low, middle) if _macs(_pruned(data, middle, side), side) <= macs else (middle, high)
        return _pruned(data, high, side), _fixed(side)

    def load(self, supernet: Supernet) -> None:
        """It has its weights."""


def _pruned(data: str, share: float, side: int) -> nn.Module:
    try:
        import torch_pruning
    except ImportError as error:
        raise SystemExit("rows of pruned networks need the package torch-pruning: pip install torch-pruning") from error
    model = timm.create_model(MODEL, **pretrained(Path(data)))
    torch_pruning.pruner.MagnitudePruner(
        model, torch.zeros(1, 3, side, side), torch_pruning.importance.GroupMagnitudeImportance(), pruning_ratio=share,
        ignored_layers=[model.classifier], round_to=8,
    ).step()  # fmt: skip
    return model


def _macs(model: nn.Module, side: int) -> int:
    supernet = elastic.elasticize(model, _fixed(side), check=False)
    return int(supernet.macs([supernet.space.largest])[0])


def _fixed(side: int) -> Recipe:
    return Recipe({}, {}, input_size=(3, side, side))


register_supernets({"benchmark_pruned": Pruned()})


# --- trainings ----------------------------------------------------------------------------------------------


def supernet_module(data: Path, rate: float, seed: int) -> SupernetModule:
    """Fine-tuned as its largest subnet, then as a whole."""
    first = Phase(
        "largest", FIRST, rate, WARMUP, largest={"*": 1}, sampler=UniformSampler(1), distiller=NoDistiller(SMOOTHING)
    )
    then = Phase("elastic", THEN, rate, WARMUP, sort="l1")
    return module(elastic_source(data), [first, then], seed)


def lone_module(source: SupernetSource, rate: float, seed: int) -> SupernetModule:
    """One network, fine-tuned alone."""
    return module(source, [Phase("alone", FIRST + THEN, rate, WARMUP)], seed)


def module(source: SupernetSource, phases: list[Phase], seed: int) -> SupernetModule:
    several = len(phases) > 1
    made = SupernetModule(
        source, Curriculum(phases), SandwichSampler(1) if several else UniformSampler(1),
        SoftTargets(label_smoothing=SMOOTHING) if several else NoDistiller(SMOOTHING), InPlaceTeacher(),
        optimizer=OptimizerOptions("sgd", momentum=0.9, weight_decay=1e-4), step=StepOptions(channels_last=True),
        seed=seed,
    )  # fmt: skip
    nn.init.zeros_(made.supernet.model.get_classifier().weight)  # large random logits would undo what it knows
    return made


def cut_module(data: Path, arch: Arch, rate: float, seed: int) -> SupernetModule:
    """A subnet with the weights that matter most of the pretrained network."""
    source = elastic_source(data)
    whole = source.build()
    whole.sort(elastic.importance(whole, "l1"))
    made = lone_module(replace(source, arch=dict(arch)), rate, seed)
    cut = whole.extract(arch).state_dict()
    cut |= {name: tensor for name, tensor in made.supernet.model.state_dict().items() if name.startswith("classifier")}
    made.supernet.model.load_state_dict(cut)
    return made


def pruned_module(data: Path, side: int, macs: int, rate: float, seed: int) -> SupernetModule:
    """As torch-pruning cuts the pretrained network."""
    source = SupernetSource("benchmark_pruned", {"data": str(data), "macs": macs, "side": side})
    return lone_module(source, rate, seed)


# --- the table ----------------------------------------------------------------------------------------------


def parse() -> argparse.Namespace:
    parser = table_parser(__doc__, ["cifar10"], 240_000, "runs/finetuned")
    parser.add_argument("--only", default="*", help="train what has this name, or matches this pattern")
    parser.add_argument("--images", type=int, help="train and judge on so many only, to try it")
    parser.add_argument("--rate", type=float, default=0.02, help="the learning rate of all trainings")
    return parser.parse_args()


def main() -> None:
    options = parse()
    quiet()
    data, rate = options.data.resolve(), options.rate
    supernet = elastic_source(data).build()
    archs = subnets(supernet)
    macs = dict(zip(archs, map(int, supernet.macs(list(archs.values()))), strict=True))
    sides = {name: supernet.input_shape(arch)[-1] for name, arch in archs.items()}
    train, test = ((2 * images[: options.images] - 1, labels[: options.images])
                   for images, labels in load_images(options.setting, data))  # fmt: skip
    task = Task(train, test, crop=4, size=BATCH)
    way = {"passes": options.passes, "rate": rate} | ({"images": options.images} if options.images else {})

    def trained(name: str, seed: int, folder: Path) -> dict[str, Any]:
        if name == SUPERNET:
            return train_and_measure(task, supernet_module(data, rate, seed), archs, options.passes, seed, folder)
        kind, _, subnet = name.partition(": ")
        share = ALONE.get(kind.removeprefix("alone, "), STEPS_SHARE)
        if kind in PRUNED:
            side = FULL_SIDE if kind == PRUNED[0] else sides[subnet]
            made = pruned_module(data, side, macs[subnet], rate, seed)
        else:
            made = cut_module(data, archs[subnet], rate, seed)
        passes = round(options.passes * share)
        return train_and_measure(task, made, {subnet: Arch({})}, passes, seed, folder)

    log = Log(options.out, f"finetuned_{options.setting}.jsonl", way)
    kinds = [f"alone, {kind}" for kind in ALONE]
    names = [f"{kind}: {name}" for kind in kinds for name in archs]
    names += [f"{kind}: {name}" for kind in PRUNED for name in archs if name != "largest"]
    words = ", ".join(f"{key} {value}" for key, value in way.items())
    in_sittings(log, [SUPERNET, *names], options, f"{options.setting}, {words}, {{}}, seed {{}}", trained)
    sys.stdout.write(accuracy_table(log.results, macs, [SUPERNET, *kinds, *PRUNED]) + "\n")


if __name__ == "__main__":
    main()
