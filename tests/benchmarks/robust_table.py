"""One robust supernet against robust students trained one by one: a Markdown table of what attacks leave of either.

    python tests/benchmarks/robust_table.py --data FOLDER --setting fashion_mnist --passes N --out DIR

FOLDER has `fashion_mnist/` (as torchvision keeps it) or `cifar10_20k_5k.npz`. A pass is one image through one subnet,
forward and backward, those that make the attack included; N is what the supernet takes. It is trained by a robust
sandwich that attacks each batch once (three steps), for all its subnets. Alone, the largest network is trained by
TRADES and teaches the others (RSLAD), each attacked itself: once with N passes for each of the five, once with N for
all of them together. Whatever is done is kept in DIR, and isn't done again. BatchNorm is re-estimated on attacked
training images, and all figures are of the test split, which chose nothing: clean and PGD-20 on the first `--images`,
AutoAttack (10,000 passes for an image that withstands it) on the first `--few`.

`--widths` asks another question of the supernet: are subnets whose stages have widths of their own more robust than
those of one relative width, at equal MACs? Both are chosen by PGD-20 on training images that were set aside.
"""

import argparse
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from images import Batches, Data, Labelled, fit, in_batches, load_images
from sittings import Log, ladder, quiet, table_parser
from torch import Tensor, nn

import elastic
from elastic import Arch, Supernet
from elastic.layers.batchnorm import recalibrate
from elastic.prediction.predictor import PredictionError
from elastic.supernet.evaluation import MeasuredAccuracy
from elastic.supernet.folder import load_supernet
from elastic.supernet.source import SupernetSource
from elastic.support.progress import progress_bar
from trainers import (
    RSLAD,
    TRADES,
    Adversary,
    Curriculum,
    InPlaceTeacher,
    OptimizerOptions,
    Phase,
    SandwichSampler,
    StepOptions,
    SupernetModule,
    Threat,
    UniformSampler,
)
from trainers.methods.teachers import Teacher
from trainers.robust.accuracy import RobustAccuracy, Share, measure_robustness
from trainers.robust.attacked_batchnorm import recalibrate_attacked
from trainers.run_folder import LAST

BATCH, EPOCHS, MIDDLES, CALIBRATION_BATCHES, CHOOSING, PREDICTOR = 128, 8, 3, 8, 1000, 60
SETTINGS = {
    "fashion_mnist": {"input_size": [1, 28, 28], "crop": 2, "epsilon": "0.1", "step_size": "0.05"},
    "cifar10": {"input_size": [3, 32, 32], "crop": 4, "epsilon": "8/255", "step_size": "4/255"},
}
WIDTHS = {"width.0": (8, 12, 16), "width.1": (16, 24, 32), "width.2": (32, 48, 64)}
"""The same shares of each stage's channels."""

BUDGETS = ((1, 1), (0, 2), (1, 2))
"""MACs to compare widths at: those of these (index of the width, depth), each the same in all stages."""

MEASURES = ("clean", "pgd-20", "autoattack")
SUPERNET, EACH, TOGETHER = "supernet", "alone, as many passes each", "alone, as many in all"


# --- networks -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """What all trainings of a setting share."""

    setting: str
    train: Labelled
    test: Labelled
    folder: Path

    def source(self, arch: Arch | None = None) -> SupernetSource:
        choices = {**{name: list(widths) for name, widths in WIDTHS.items()}, "depth": [1, 2]}
        size = {"input_size": SETTINGS[self.setting]["input_size"]}
        alone = None if arch is None else dict(arch)
        return SupernetSource("robust_wrn_fashion_mnist", size, choices=choices, arch=alone)

    @property
    def adversary(self) -> Adversary:
        chosen = {key: SETTINGS[self.setting][key] for key in ("epsilon", "step_size")}
        return Adversary(**chosen, steps=3, warmup_epochs=2)

    @property
    def threat(self) -> Threat:
        return Threat(epsilon=SETTINGS[self.setting]["epsilon"])

    @property
    def calibration(self) -> list[Tensor]:
        return list(self.train[0][: CALIBRATION_BATCHES * BATCH].split(BATCH))

    def recalibrate(self, model: nn.Module, batches: Iterable[Tensor]) -> None:
        recalibrate_attacked(model, batches, self.adversary)


def students(supernet: Supernet) -> dict[str, Arch]:
    """The smallest, the largest, and others in equal steps of MACs between them."""
    return ladder(supernet, list(dict.fromkeys(supernet.space.sample(0, 400))), MIDDLES)


# --- trainings ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaughtBy(Teacher):
    """A teacher that was trained before."""

    folder: Path
    calibration: tuple[Tensor, ...]

    def build(self, supernet: Supernet) -> nn.Module:
        trained = load_supernet(self.folder)
        model = trained.extract(trained.space.largest)
        recalibrate(model, self.calibration)
        return model


def trained(bench: Bench, name: str, passes: int, seed: int, arch: Arch | None = None, teacher: Path | None = None):
    """The supernet, or one of its subnets alone: from its folder, or trained now."""
    folder = bench.folder / f"{name}, {passes}, seed {seed}"
    if not (folder / "supernet.json").exists() or (folder / LAST).exists():
        torch.manual_seed(seed)
        adversary, source = bench.adversary, bench.source(arch)
        sampler = SandwichSampler(1) if arch is None else UniformSampler(1)
        per_image = adversary.steps + 2 * sampler.subnets_per_step
        steps = max(round(passes / per_image / BATCH / EPOCHS), 1)
        module = SupernetModule(
            source, Curriculum([Phase("all", EPOCHS, 0.1, warmup_epochs=1)], batch_size=BATCH), sampler,
            RSLAD(alone=TRADES(6.0)), InPlaceTeacher() if teacher is None else TaughtBy(teacher, (*bench.calibration,)),
            replace(adversary, shared=arch is None),
            OptimizerOptions("sgd", momentum=0.9, weight_decay=2e-4, clip_value=1.0), StepOptions(channels_last=True),
            seed=seed,
        )  # fmt: skip
        batches = Batches(bench.train, SETTINGS[bench.setting]["crop"], BATCH, steps, seed)
        seconds = fit(module, Data(batches, bench.calibration), folder)
        sys.stderr.write(f"{folder.name}: {seconds} s\n")
        (folder / LAST).unlink()  # now it is done
    return folder


def trainings(bench: Bench, archs: dict[str, Arch], passes: int, seed: int):
    """Every (method, student, folder of the trained network, its arch there)."""
    supernet = trained(bench, SUPERNET, passes, seed)
    yield from ((SUPERNET, name, supernet, arch) for name, arch in archs.items())
    for method, each in ((EACH, passes), (TOGETHER, passes // len(archs))):
        teacher = trained(bench, "largest", each, seed, archs["largest"])
        for name, arch in archs.items():
            folder = teacher if name == "largest" else trained(bench, name, each, seed, arch, teacher)
            yield method, name, folder, Arch({})


# --- figures ------------------------------------------------------------------------------------------------


def attacked(bench: Bench, folder: Path, arch: Arch, images: int, few: int) -> dict[str, Share]:
    """Accuracy: clean, under PGD-20, and under AutoAttack."""
    judge = MeasuredAccuracy(load_supernet(folder), [], bench.calibration, recalibrate=bench.recalibrate)
    model, found = judge.subnet(arch), {}
    for attack, count in (("pgd-20", images), ("autoattack", few)):
        batches = in_batches(bench.test, 250, count)
        found = {**measure_robustness(model, batches, [attack], bench.threat).shares, **found}
    return {name: found[name] for name in MEASURES}


def table(results: list[dict], macs: dict[str, int]) -> str:
    """A row for each measure and way of training, a column for each student; seeds are pooled."""
    lines = ["| | trained | " + " | ".join(f"{name} ({count / 1e6:.2f} M)" for name, count in macs.items()) + " |"]
    lines.append("|---" * (len(macs) + 2) + "|")
    for measure, method in product(MEASURES, (SUPERNET, EACH, TOGETHER)):
        cells = []
        for name in macs:
            shares = [r["shares"][measure] for r in results if (r["method"], r["student"]) == (method, name)]
            pooled = Share(sum(one["right"] for one in shares), sum(one["n"] for one in shares))
            cells.append("{:.1f} ({:.1f}–{:.1f})".format(pooled.accuracy, *pooled.interval))
        lines.append(f"| {measure} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def widths(bench: Bench, folder: Path, chosen_by: Labelled, images: int) -> str:
    """A row per budget: of the subnets within it the most robust of one relative width and depth, and of all."""
    supernet = load_supernet(folder)
    judge, report = (
        RobustAccuracy(
            supernet, in_batches(labelled, 250, count), bench.calibration, "pgd-20", bench.threat,
            recalibrate=bench.recalibrate,
        )
        for labelled, count in ((chosen_by, CHOOSING // 2), (bench.test, images))
    )  # fmt: skip
    uniform = {
        (at, depth): supernet.space.arch(
            {**{name: one[at] for name, one in WIDTHS.items()}, **{f"depth.{stage}": depth for stage in range(3)}}
        )
        for at, depth in product(range(3), (1, 2))
    }
    archs = list(dict.fromkeys([*uniform.values(), *supernet.space.sample(0, 400)]))
    costs = dict(zip(archs, map(int, supernet.macs(archs)), strict=True))
    with progress_bar("judging subnets", len(archs)) as advance:
        for arch in archs:
            judge(arch)
            advance(1)
    noted = predicted(supernet, judge, archs)
    lines = ["| MACs, at most | one width: set aside | test | widths of their own: set aside | test | what |"]
    lines.append("|---" * 6 + "|")
    for budget in BUDGETS:
        most = costs[uniform[budget]]
        cells = []
        for among in (uniform.values(), archs):
            best = max((one for one in among if costs[one] <= most), key=lambda arch: judge(arch)["robust"])
            share, n = report(best)["robust"], images
            error = math.sqrt(share * (100 - share) / n)
            cells += [f"{judge(best)['robust']:.1f}", f"{share:.1f} ± {error:.1f}"]
        lines.append(f"| {most / 1e6:.2f} M | {' | '.join(cells)} | {best} |")
    return "\n".join([*lines, "", *noted])


def predicted(supernet: Supernet, judge: RobustAccuracy, archs: list[Arch]) -> list[str]:
    """How far predictors of both accuracies, fitted to some subnets, are off for the others."""
    seen: list[Arch] = []

    def asked(arch: Arch) -> dict[str, float]:
        seen.append(arch)
        return dict(judge(arch))

    lines = []
    for name, predictor in elastic.learn_predictors(supernet, asked, PREDICTOR).items():
        left = [arch for arch in archs if arch not in seen]
        error = PredictionError.of(
            predictor(supernet.space.encode(left)), np.array([judge(arch)[name] for arch in left])
        )
        lines.append(
            f"{name}, predicted ({predictor.kind}, fitted to {len(set(seen))}): off by {error.rmse:.2f} (root mean "
            f"square, n = {error.n}), by cross-validation {predictor.error.rmse:.2f}; Kendall τ {error.tau:.2f}."
        )
    return lines


def parse() -> argparse.Namespace:
    parser = table_parser(__doc__, SETTINGS, 1_200_000, "runs/robust")
    parser.add_argument("--images", type=int, default=2000, help="of the test, as they are and under PGD-20")
    parser.add_argument("--few", type=int, default=128, help="of these, under AutoAttack")
    parser.add_argument("--widths", action="store_true", help="compare widths within the supernet instead")
    return parser.parse_args()


def main() -> None:
    options = parse()
    quiet()
    train, test = load_images(options.setting, options.data)
    kept, aside = (tuple(part[where] for part in train) for where in (slice(-CHOOSING), slice(-CHOOSING, None)))
    bench = Bench(options.setting, kept, test, options.out / options.setting)
    if options.widths:
        folder = trained(bench, SUPERNET, options.passes, 0)
        sys.stdout.write(widths(bench, folder, aside, options.images) + "\n")
        return
    supernet = bench.source().build()
    archs = students(supernet)
    way = {key: getattr(options, key) for key in ("passes", "images", "few")}
    log = Log(options.out, f"robust_{options.setting}.jsonl", way)
    for seed in range(options.seeds):
        for method, name, folder, arch in trainings(bench, archs, options.passes, seed):
            if not log.has(method=method, student=name, seed=seed):
                found = attacked(bench, folder, arch, options.images, options.few)
                shares = {key: share.to_dict() for key, share in found.items()}
                log.add(method=method, student=name, seed=seed, shares=shares)
    macs = {name: int(count) for name, count in zip(archs, supernet.macs(list(archs.values())), strict=True)}
    sys.stdout.write(table(log.results, macs) + "\n")


if __name__ == "__main__":
    main()
