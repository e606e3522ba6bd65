"""Predictors of latency and accuracy against real measurements: two Markdown tables.

    .venv/bin/python tests/benchmarks/predictors_table.py --data FOLDER [--seeds 5]

FOLDER holds `latency/ofa_subnets_gpu_ms.npz` (5,000 of Once-for-All's subnets in five GPU settings) and
`accuracy/ofa_imagenet_top1.json` (2,610 subnets' ImageNet top-1). A seed draws the subnets to train on; all
others are for the test. What a predictor chooses (kind, penalties) it chooses on those it trains on.
"""

import argparse
import json
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import zoo
from elastic.prediction.features import ArchFeatures
from elastic.prediction.predictor import REGRESSIONS, PredictionError, fit_predictor

SUPERNET = "ofa_mbv3_d234_e346_k357_w1.0"
KINDS = ("additive", "ridge", "roofline", "gp", "boosting", "mlp")
TRAINED_ON = 200
SIZES = (50, 100, 500, 1000, 2000)
COVERAGE = 0.9


def split(n, trained_on, seed):
    """Indices to train on, and all others."""
    order = np.random.default_rng(seed).permutation(n)
    return order[:trained_on], order[trained_on:]


def encoded(supernet, published):
    """Rows `(n, dims)` of published encodings `{"ks": (n, 20), "e": ..., "d": ..., "r": (n,)}`."""
    columns = {key: np.asarray(published[key]).astype(int).tolist() for key in ("ks", "e", "d", "r")}
    each = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return supernet.space.encode([zoo.to_arch(supernet, one) for one in each])


@dataclass(frozen=True)
class Trial:
    """A kind's cross-validated error, its error on all subnets that weren't trained on, the share in their interval."""

    kind: str
    validated: PredictionError
    error: PredictionError
    inside: float


def trials(features, rows, targets, kinds, relative, trained_on, seed):
    """A trial of each kind; the last one, which `kind="auto"` would have chosen."""
    train, test = split(len(rows), trained_on, seed)
    found = []
    for kind in kinds:
        predictor = fit_predictor(features, rows[train], targets[train], kind, relative, seed)
        low, high = predictor.interval(rows[test], COVERAGE)
        inside = float(np.mean((low <= targets[test]) & (targets[test] <= high))) * 100
        found.append(Trial(kind, predictor.error, PredictionError.of(predictor(rows[test]), targets[test]), inside))
    figure = "mape" if relative else "rmse"
    candidates = [one for one in found if REGRESSIONS[one.kind].automatic]
    return [*found, min(candidates, key=lambda one: getattr(one.validated, figure))]


def spread(values, digits):
    """`mean ± standard deviation`."""
    return (
        f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"
        if len(values) > 1
        else (f"{values[0]:.{digits}f}")
    )


def latency_table(supernet, folder, seeds):
    """A row for each setting and kind."""
    with np.load(folder / "latency" / "ofa_subnets_gpu_ms.npz") as file:
        data = {key: file[key] for key in file}
    rows, features = encoded(supernet, data), ArchFeatures(supernet.space, supernet)
    yield "| GPU, batch | predictor | MAPE (%) | Kendall τ | in the 90 % interval (%) |"
    yield "|---|---|---|---|---|"
    for setting in [key for key in data if key.startswith("ms_")]:
        targets = data[setting].astype(np.float64)
        gpu, _, batch = setting.removeprefix("ms_").rpartition("_")
        by_seed = [trials(features, rows, targets, KINDS, True, TRAINED_ON, seed) for seed in range(seeds)]
        for name, found in zip((*KINDS, "auto"), zip(*by_seed, strict=True), strict=True):
            figures = cells(found, "mape", 2)
            yield f"| {gpu}, {batch} | {labelled(name, found)} | {figures} |"


def accuracy_table(supernet, folder, seeds):
    """A row for each number of subnets to train on."""
    data = json.loads((folder / "accuracy" / "ofa_imagenet_top1.json").read_text())["MIT_OFA"]
    rows, features = encoded(supernet, data), ArchFeatures(supernet.space, supernet)
    targets = np.array(data["acc"]) * 100
    automatic = [kind for kind, regression in REGRESSIONS.items() if regression.automatic]
    kinds = [kind for kind in automatic if kind in features.kinds and kind != "roofline"]
    yield "| trained on | predictor | RMSE (points) | Kendall τ | in the 90 % interval (%) |"
    yield "|---|---|---|---|---|"
    for trained_on in SIZES:
        found = [trials(features, rows, targets, kinds, False, trained_on, seed)[-1] for seed in range(seeds)]
        yield f"| {trained_on:,} | {labelled('auto', found)} | {cells(found, 'rmse', 3)} |"


def labelled(name, found):
    """The kind, and what it stands for."""
    return f"auto ({', '.join(sorted({one.kind for one in found}))})" if name == "auto" else name


def cells(found, figure, digits):
    """Error, τ and coverage of some trials."""
    error = spread([getattr(one.error, figure) for one in found], digits)
    return f"{error} | {spread([one.error.tau for one in found], 3)} | {spread([one.inside for one in found], 1)}"


def main():
    """Print both tables, a row at a time."""
    warnings.simplefilter("error")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with latency/ and accuracy/")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tables", nargs="+", choices=("latency", "accuracy"), default=("latency", "accuracy"))
    options = parser.parse_args()
    if not (options.data / "latency" / "ofa_subnets_gpu_ms.npz").exists():
        parser.error(f"{options.data} has no latency/ofa_subnets_gpu_ms.npz")
    supernet = zoo.create(SUPERNET)
    chosen = {"latency": latency_table, "accuracy": accuracy_table}
    for name in options.tables:
        for line in chosen[name](supernet, options.data, options.seeds):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
