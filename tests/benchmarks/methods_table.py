"""Every method of training with the same number of image passes, against subnets trained alone: a Markdown table.

    python tests/benchmarks/methods_table.py --data FOLDER --setting cifar10 --passes 300000

FOLDER has `fashion_mnist/` (as torchvision keeps it) or `cifar10_20k_5k.npz`. A pass is one image through one subnet,
forward and backward. Each run's accuracies are appended to `<out>/<setting>.jsonl`, and what is there isn't trained
again, so that the table can be made in several sittings. BatchNorm is re-estimated for every subnet; accuracy is on
the test split, which chose nothing.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import elastic
from elastic import SearchSpace
from elastic.building import SupernetSource
from elastic.evaluation import MeasuredAccuracy, accuracy
from trainers import load_supernet
from trainers.cli import main
from trainers.configurations import name_configurations
from trainers.deploy import calibration_images, load_data

BATCH, MIDDLES = 128, 4
NOT_ELASTIC = {"stem": None, "width": None, "resolution": None}
SETTINGS = {
    "fashion_mnist": {
        "source": {
            "model": "mobilenetv3_small_050",
            "model_args": {"num_classes": 10},
            "choices": {**NOT_ELASTIC, "head": None},
            "input_size": [1, 32, 32],
        },
        "data": {
            "name": "torch/fashion_mnist", "val_split": None, "test_split": "test", "input_size": [1, 32, 32],
            "mean": [0.286], "std": [0.353], "train_transform": {"scale": [0.7, 1.0], "color_jitter": None},
        },
        "shrinking": "progressive_shrinking",
    },
    "cifar10": {
        "source": {
            "model": "resnet26",
            "model_args": {"num_classes": 10, "channels": [8, 16, 24, 32]},
            "choices": NOT_ELASTIC,
            "input_size": [3, 32, 32],
        },
        "data": {
            "train_split": "train", "val_split": "val", "input_size": [3, 32, 32],
            "mean": [0.491, 0.482, 0.447], "std": [0.247, 0.243, 0.262],
            "train_transform": {"scale": [0.6, 1.0], "color_jitter": None},
        },
        "shrinking": "progressive_shrinking_resnet",
    },
}  # fmt: skip
SANDWICH = {"phases": [{"name": "sandwich", "epochs": 20, "learning_rate": 0.1, "warmup_epochs": 1}]}
METHODS = {
    "sandwich": ("sandwich", {"curriculum": SANDWICH}),
    "sandwich, width scaling": ("sandwich", {"curriculum": SANDWICH, "supernet": {"width_scaling": True}}),
    "sandwich, α-divergence": ("alpha_divergence", {"curriculum": SANDWICH}),
    "progressive shrinking": ("shrinking", {}),
    "CompOFA": ("compofa", {}),
}


# --- data ---------------------------------------------------------------------------------------------------


def prepare(setting: str, data: Path, out: Path) -> Path:
    """The folder that the data module reads, made once."""
    root = out / f"{setting}-images"
    if root.exists():
        return root
    stage = root.with_name(f".{root.name}-{os.getpid()}")
    if setting == "fashion_mnist":
        shutil.copytree(data / "fashion_mnist", stage)
    else:
        _write_folder(np.load(data / "cifar10_20k_5k.npz"), stage)
    stage.replace(root)
    return root


def _write_folder(arrays, folder: Path) -> None:
    """The images of an .npz of differences between neighbouring pixels and channels, as PNG files by class."""
    for split in ("train", "val"):
        pixels = np.cumsum(arrays[f"{split}_delta"].transpose(1, 2, 3, 0), axis=2, dtype=np.uint8)
        pixels[..., 0] += pixels[..., 1]
        pixels[..., 2] += pixels[..., 1]
        for index, (image, label) in enumerate(zip(pixels, arrays[f"{split}_y"], strict=True)):
            path = folder / split / f"{int(label)}" / f"{index:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


# --- subnets ------------------------------------------------------------------------------------------------


def subnets(source: dict) -> tuple[dict, dict]:
    """By name, the subnets that every method trains: as archs of the whole space, and of the coupled one."""
    coupled = _coupled(source).build()
    archs = {arch: int(macs) for arch, macs in _with_macs(coupled)}
    low, high = min(archs.values()), max(archs.values())
    chosen = {"smallest": coupled.space.smallest}
    for k in range(1, MIDDLES + 1):
        target = low + (high - low) * k / (MIDDLES + 1)
        chosen[f"middle {k}"] = min(archs, key=lambda arch: abs(archs[arch] - target))
    chosen["largest"] = coupled.space.largest
    whole = SupernetSource.from_dict(source).build()
    free = {name: _free(coupled, whole.space, arch) for name, arch in chosen.items()}
    for name, arch in free.items():
        assert whole.macs([arch])[0] == coupled.macs([chosen[name]])[0]
    return free, chosen


def _coupled(source: dict) -> SupernetSource:
    choices = {**source["choices"], **({"kernel": None} if "mobilenet" in source["model"] else {})}
    return SupernetSource.from_dict({**source, "choices": choices, "couple": {"mid": "depth"}})


def _with_macs(supernet):
    archs = list(dict.fromkeys(supernet.space.sample(0, 200)))
    return zip(archs, supernet.macs(archs), strict=True)


def _free(coupled, space: SearchSpace, arch):
    values = {dim.name: dim.full for dim in space.dims} | dict(arch)
    resolved = coupled.layout.resolve({**{n: s.full for n, s in coupled.layout.sizes.items()}, **dict(arch)})
    return space.arch({name: resolved.get(name, value) for name, value in values.items()})


# --- runs ---------------------------------------------------------------------------------------------------


def fit(name: str, model: dict, configs: list[str], setting: str, root: Path, out: Path, passes: int, seed: int):
    """Train, and give the run's folder."""
    folder = out / setting / name
    if not (folder / "supernet.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        base = {
            "model": {
                "sampler": {"class_path": "trainers.samplers.UniformSampler", "init_args": {"n": 1}},
                "optimizer": {"name": "sgd", "weight_decay": 0.0001, "clip_value": None},
                "validation": {"middles": 0, "calibration_batches": 1},
            },
            "data": {"class_path": "TimmData", "init_args": {
                **SETTINGS[setting]["data"], "root": str(root), "batch_size": BATCH, "workers": 0,
                "download": setting == "fashion_mnist", "eval_transform": {"crop_pct": 1.0},
            }},
            "trainer": {
                "enable_progress_bar": False, "limit_val_batches": 0, "limit_train_batches": 1, "logger": False,
                "accelerator": "auto", "devices": 1,
            },
        }  # fmt: skip
        first, last = out / f"{setting}-base.yaml", out / f"{setting}-model.yaml"
        first.write_text(json.dumps(base))
        last.write_text(json.dumps({"model": model}))
        words = ["fit", "--config", str(first)]
        for config in [*configs, str(last)]:
            words += ["--config", config]
        words += ["--runs", str(out / setting), "--name", name, "--seed_everything", str(seed)]
        words = name_configurations(words)
        steps = epoch_steps(words, passes)
        if main([*words, "--trainer.limit_train_batches", str(steps)]) != 0:
            raise SystemExit(f"{name} failed")
    return folder


def epoch_steps(words: list[str], passes: int) -> int:
    """Steps of an epoch that make the whole curriculum take `passes`."""
    from trainers.fitting import SupernetCLI

    class Read(SupernetCLI):
        def before_instantiate_classes(self):
            raise StopIteration(self.config.fit)

    try:
        Read([*words])
    except StopIteration as read:
        config = read.value
    default = config.model.sampler.init_args
    scale, subnet_epochs = config.model.curriculum.scale, 0
    for phase in config.model.curriculum.phases:
        sampler = default if phase.sampler is None else phase.sampler.init_args
        count = sampler.n if "n" in sampler else 2 + sampler.n_random
        subnet_epochs += max(round(phase.epochs * scale), 1) * count
    return max(round(passes / BATCH / subnet_epochs), 1)


def evaluate(folder: Path, archs: dict) -> dict[str, float]:
    """Test accuracy of each subnet in percent, and the number of test images."""
    supernet, data = load_supernet(folder), load_data(folder / "config.yaml")
    measure = MeasuredAccuracy(supernet, data.test_dataloader(), calibration_images(data))
    found = {name: accuracy(measure.subnet(arch), measure._sized(arch)) for name, arch in archs.items()}
    return {**found, "n": sum(len(labels) for _, labels in measure.validation)}


def run(setting: str, name: str, seed: int, root: Path, out: Path, passes: int) -> dict:
    """One training and its accuracies."""
    source, label = SETTINGS[setting]["source"], f"{name}, seed {seed}".replace(" ", "_").replace(",", "")
    free, coupled = subnets(source)
    if name in METHODS:
        config, changes = METHODS[name]
        config = SETTINGS[setting]["shrinking"] if config == "shrinking" else config
        model = {**changes, "supernet": {**source, **changes.get("supernet", {})}}
        if name == "CompOFA":
            model["supernet"] = _coupled(source).to_dict()
        if not changes:
            model["curriculum"] = {"scale": 0.1}
        folder = fit(label, model, [config], setting, root, out, passes, seed)
        return evaluate(folder, coupled if name == "CompOFA" else free)
    subnet = name.removeprefix("alone: ")
    alone = {"phases": [{"name": "alone", "epochs": 20, "learning_rate": 0.1, "warmup_epochs": 1}]}
    model = {"supernet": {**source, "arch": dict(free[subnet])}, "curriculum": alone,
             "distiller": {"class_path": "trainers.distillers.NoDistiller", "init_args": {"label_smoothing": 0.1}}}
    folder = fit(label, model, [], setting, root, out, passes, seed)
    return evaluate(folder, {subnet: elastic.Arch({})})


# --- the table ----------------------------------------------------------------------------------------------


def table(results: list[dict], columns: list[str]) -> str:
    """Mean accuracy of each subnet over seeds, ± standard error."""
    lines = ["| trained | " + " | ".join(columns) + " | n |", "|---" * (len(columns) + 2) + "|"]
    rows = {name: [r for r in results if r["method"] == name] for name in METHODS}
    rows["each alone"] = [r for r in results if r["method"].startswith("alone")]
    for name, found in rows.items():
        cells = [_cell([r["accuracy"][c] for r in found if c in r["accuracy"]], found) for c in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {len({r['seed'] for r in found})} |")
    return "\n".join(lines)


def _cell(values: list[float], found: list[dict]) -> str:
    if not values:
        return "–"
    mean = statistics.mean(values)
    if len(values) > 1:
        return f"{mean:.1f} ± {statistics.stdev(values) / math.sqrt(len(values)):.1f}"
    return f"{mean:.1f} ± {math.sqrt(mean * (100 - mean) / found[0]['accuracy']['n']):.1f}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--setting", choices=SETTINGS, required=True)
    parser.add_argument("--passes", type=int, default=300_000, help="image passes of each training")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    root = prepare(options.setting, options.data, options.out)
    log = options.out / f"{options.setting}.jsonl"
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    columns = list(subnets(SETTINGS[options.setting]["source"])[0])
    for seed in range(options.seeds):
        for name in [*METHODS, *(f"alone: {column}" for column in columns)]:
            if any((r["method"], r["seed"], r["passes"]) == (name, seed, options.passes) for r in done):
                continue
            torch.manual_seed(seed)
            found = run(options.setting, name, seed, root, options.out, options.passes)
            done.append({"method": name, "seed": seed, "passes": options.passes, "accuracy": found})
            with log.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
    done = [r for r in done if r["passes"] == options.passes]
    sys.stdout.write(table(done, columns) + "\n")
