"""Every method of training with the same number of image passes, against subnets trained alone: a Markdown table.

    python tests/benchmarks/methods_table.py --data FOLDER --setting cifar10 --passes N --seeds K

FOLDER has `fashion_mnist/` (as torchvision keeps it) or `cifar10_20k_5k.npz`. A pass is one image through one subnet,
forward and backward; N is what each supernet takes. A lone subnet takes as many optimiser steps as the sandwich, as
many passes as the supernet together with the other lone ones, or as many passes itself: a row of the table each. Each
training's accuracies are appended to `<out>/methods_<setting>.jsonl`, and what is there isn't trained again; a training
that was killed goes on from the end of its last epoch. So the table can be made in several sittings, and `lab.py` has a
queue of them. BatchNorm is re-estimated for every subnet; accuracy is on the test split, which chose nothing.
The learning rates were chosen with `--held_out`: trained on nine tenths of the training images, judged on the last.
`ofa_cifar10` asks what progressive shrinking is good for, on the zoo's smallest supernet: against the same full network
followed by the whole space at once (the same losses and teacher), and against the whole space from the first step.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from configured import configured_module
from images import Labelled, Task, load_images, train_and_measure
from sittings import Log, accuracy_table, in_sittings, ladder, quiet, table_parser
from timm.layers import SqueezeExcite
from timm.models import register_model
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from elastic import Arch, SearchSpace
from elastic.supernet.source import SupernetSource
from trainers import SupernetModule
from trainers.configurations import find_configuration

MIDDLES, EPOCHS = 4, 50
SETTINGS = {
    "fashion_mnist": {
        "source": {
            "model": "benchmark_mobilenetv3",
            "choices": {"stem": None, "width": None, "head": None, "mid": [0.25, 0.5, 1.0], "depth": [1, 2, 3]},
            "options": {"input_size": [1, 28, 28], "resolutions": [28]},
        },
        "crop": 2, "mean": [0.286], "std": [0.353],
        "shrinking": "progressive_shrinking",
    },
    "cifar10": {
        "source": {
            "model": "benchmark_resnet",
            "choices": {"stem": None, "width": None, "mid": [0.35, 0.65, 1.0], "mid.3.0": None, "depth": [1, 2, 3]},
            "options": {"input_size": [3, 32, 32], "resolutions": [32]},
        },
        "crop": 4, "mean": [0.491, 0.482, 0.447], "std": [0.247, 0.243, 0.262],
        "shrinking": "progressive_shrinking_resnet",
    },
    "ofa_cifar10": {
        "source": {"model": "ofa_mbv3_cifar10", "choices": {}, "options": {"resolutions": [32]}},
        "crop": 4, "mean": [0.491, 0.482, 0.447], "std": [0.247, 0.243, 0.262],
        "shrinking": "progressive_shrinking",
        "methods": ["progressive shrinking", "no shrinking", "no shrinking, from the start"],
    },
}  # fmt: skip
FULL = {"name": "full", "epochs": 180, "learning_rate": 2.6, "largest": {"kernel": 1, "depth": 1, "mid": 1}}
WHOLE = {"name": "whole", "epochs": 1025, "learning_rate": 0.96, "warmup_epochs": 5}
"""Phases of as many passes as progressive shrinking has: of its full network, and of all that follows."""

ONE_A_STEP = {"sampler": {"class_path": "trainers.methods.samplers.UniformSampler", "init_args": {"n": 1}}}
LABELS_ONLY = {
    "distiller": {"class_path": "trainers.methods.distillers.NoDistiller", "init_args": {"label_smoothing": 0.1}},
    "teacher": {"class_path": "trainers.methods.teachers.InPlaceTeacher"},
}
METHODS = {  # the shipped configuration, and what is different
    "sandwich": ("sandwich", {}),
    "sandwich, labels for all": ("sandwich", {"distiller": {
        "class_path": "SoftTargets", "init_args": {"label_smoothing": 0.1, "label_weight": 1.0},
    }}),
    "sandwich, width scaling": ("sandwich", {"supernet": {"width_scaling": True}}),
    "sandwich, α-divergence": ("alpha_divergence", {}),
    "progressive shrinking": ("shrinking", {}),
    "CompOFA": ("compofa", {}),
    "no shrinking": ("shrinking", {"curriculum": {"phases": [FULL, WHOLE]}, **ONE_A_STEP}),
    "no shrinking, from the start": ("shrinking", {
        "curriculum": {"phases": [{**WHOLE, "epochs": 1205, "learning_rate": 2.6}]}, **ONE_A_STEP, **LABELS_ONLY,
    }),
}  # fmt: skip
SHARED = [name for name in METHODS if not name.startswith("no shrinking")]
"""The methods of a setting that doesn't name its own."""
ALONE = {"as many steps": 4, "as many passes in all": 6, "as many passes each": 1}
"""A lone subnet's share of the passes: a step of the sandwich takes four subnets; six subnets together take as many."""
RATES = {"sandwich": 0.2, "shrinking": 6.0, "alone": 0.1}
"""Learning rates of the sandwiches and of lone subnets; a factor on those that progressive shrinking ships with."""


# --- networks ----------------------------------------------------------------------------------------------


@register_model
def benchmark_resnet(pretrained: bool = False, **_) -> ResNet:
    """A ResNet for 32 × 32 pixels: feature maps of 8 × 8 to 1 × 1, ten basic blocks."""
    sizes = {"layers": [3, 3, 3, 1], "channels": [16, 32, 64, 64], "stem_type": "deep", "stem_width": 8}
    model = ResNet(BasicBlock, num_classes=10, **sizes)
    model.conv1 = nn.Conv2d(3, 16, 5, stride=4, padding=2, bias=False)  # in the place of the deep stem
    model.maxpool = nn.Identity()
    return model


@register_model
def benchmark_mobilenetv3(pretrained: bool = False, **_) -> MobileNetV3:
    """A MobileNetV3 for 28 × 28 pixels: feature maps of 7 × 7 and 4 × 4, six inverted residuals."""
    blocks = [["ds_r1_k3_s2_c16"], ["ir_r3_k5_s1_e2_c16"], ["ir_r3_k3_s2_e3_c32_se0.25"], ["cn_r1_k1_s1_c96"]]
    return MobileNetV3(
        decode_arch_def(blocks), num_classes=10, in_chans=1, num_features=128, fix_stem=True,
        act_layer=nn.Hardswish, se_layer=partial(SqueezeExcite, gate_layer="hard_sigmoid"),
    )  # fmt: skip


# --- images -------------------------------------------------------------------------------------------------


def load_normalised(setting: str, data: Path, held_out: bool) -> tuple[Labelled, Labelled]:
    """Images `(N, C, H, W)` with zero mean and unit variance, and labels: for training, and for the test."""
    name = setting.removeprefix("ofa_")
    mean, std = (torch.tensor(SETTINGS[setting][key]).view(-1, 1, 1) for key in ("mean", "std"))
    train, test = (((images - mean) / std, labels) for images, labels in load_images(name, data))
    if not held_out:
        return train, test
    order, count = torch.randperm(len(train[1]), generator=torch.Generator().manual_seed(0)), len(train[1]) * 9 // 10
    kept, left = ((train[0][part], train[1][part]) for part in (order[:count], order[count:]))
    return kept, left


# --- subnets ------------------------------------------------------------------------------------------------


def subnets(source: dict, compound: bool) -> tuple[dict, dict, dict]:
    """By name, the subnets that every method trains: as archs of the whole space, of the coupled one; their MACs."""
    whole = SupernetSource(**source).build()
    coupled = SupernetSource(**couple(source)).build() if compound else whole
    spaces = [coupled.space] if compound else list(_ends_and_all(coupled.space))
    archs = list(dict.fromkeys(arch for space in spaces for arch in space.sample(0, 200)))
    chosen = ladder(coupled, archs, MIDDLES)
    full = {name: size.full for name, size in coupled.layout.sizes.items()}
    free = {}
    for name, arch in chosen.items():
        sizes = coupled.layout.resolve({**full, **arch})
        free[name] = whole.space.arch({dim.name: sizes.get(dim.name, dim.full) for dim in whole.space.dims})
    counts = {name: int(coupled.macs([arch])[0]) for name, arch in chosen.items()}
    assert list(counts.values()) == whole.macs(list(free.values())).tolist()
    return free, chosen, counts


def _ends_and_all(space: SearchSpace) -> Iterator[SearchSpace]:
    """In a space of many dims random subnets are all of middling size: those of its small and large choices, too."""
    for part in (slice(None), slice(2), slice(-2, None)):
        yield space.narrow({dim.name: dim.choices[part] for dim in space.dims})


def couple(source: dict) -> dict:
    """The source with CompOFA's space: kernels as they are, the width of blocks follows the depth of their stage."""
    kernel = {"kernel": None} if "mobilenet" in source["model"] else {}
    return {**source, "choices": {**source["choices"], **kernel}, "couple": {"mid": "depth"}}


# --- runs ---------------------------------------------------------------------------------------------------


def build(setting: str, name: str, archs: dict, out: Path, seed: int) -> SupernetModule:
    """What `elastic fit` would build from the method's shipped configuration and the benchmark's own values."""
    source = SETTINGS[setting]["source"]
    config, changes = METHODS.get(name, ("sandwich", {}))
    shipped = find_configuration(SETTINGS[setting]["shrinking"] if config == "shrinking" else config)
    rate = RATES["sandwich" if "sandwich" in name else "alone"]
    once = {"phases": [{"name": "all", "epochs": EPOCHS, "learning_rate": rate, "warmup_epochs": 2}]}
    model = {**changes, "supernet": {**source, **changes.get("supernet", {})}, "curriculum": once, "seed": seed}
    if name == "CompOFA":
        model["supernet"] = couple(source)
    if config in ("shrinking", "compofa"):
        scaled = {"scale": 0.1, "batch_size": round(2048 / RATES["shrinking"])}
        model["curriculum"] = {**changes.get("curriculum", {}), **scaled}
    if name not in METHODS:
        model["supernet"] = {**source, "arch": dict(archs[_lone(name)[1]])}
        model |= {**ONE_A_STEP, **LABELS_ONLY}
    model |= {"optimizer": {"name": "sgd", "weight_decay": 1e-4}, "step": {"channels_last": True}}
    written = out / f"{setting}.json"
    written.write_text(json.dumps({"model": model}))
    return configured_module([shipped, written])


def _lone(name: str) -> tuple[str, str]:
    """How a lone subnet is trained, and which: of "alone, as many steps: smallest"."""
    kind, _, subnet = name.removeprefix("alone, ").partition(": ")
    return kind, subnet


def parse() -> argparse.Namespace:
    parser = table_parser(__doc__, SETTINGS, 300_000, "runs/methods")
    parser.add_argument("--only", default="*", help="train what has this name, or matches this pattern")
    parser.add_argument("--held_out", action="store_true", help="leave the test split alone")
    parser.add_argument("--rate", type=float, help="another learning rate, or factor, to try with --held_out")
    return parser.parse_args()


def main() -> None:
    options = parse()
    quiet()
    if options.rate is not None:
        RATES.update(dict.fromkeys(RATES, options.rate))
    file = f"methods_{options.setting}{'_held_out' if options.held_out else ''}"
    log = Log(options.out, f"{file}.jsonl", {"passes": options.passes, "rates": dict(RATES)})
    rates = " ".join(map(str, RATES.values()))
    setting = SETTINGS[options.setting]
    methods = setting.get("methods", SHARED)
    free, coupled, macs = subnets(setting["source"], "CompOFA" in methods)
    task = Task(*load_normalised(options.setting, options.data, options.held_out), setting["crop"])
    lone = [f"alone, {kind}: {subnet}" for kind in ALONE for subnet in macs]

    def trained(name: str, seed: int, folder: Path) -> dict:
        module = build(options.setting, name, free, options.out, seed)
        archs, passes = {"CompOFA": coupled}.get(name, free), options.passes
        if name not in METHODS:
            kind, subnet = _lone(name)
            archs, passes = {subnet: Arch({})}, passes // ALONE[kind]
        return train_and_measure(task, module, archs, passes, seed, folder)

    runs = f"{file}, {options.passes}, {{}}, rates {rates}, seed {{}}"
    in_sittings(log, [*methods, *lone], options, runs, trained)
    sys.stdout.write(accuracy_table(log.results, macs, [*methods, *(f"alone, {kind}" for kind in ALONE)]) + "\n")


if __name__ == "__main__":
    main()
