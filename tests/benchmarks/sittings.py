"""What tables share that are made of trainings in several sittings: arguments, silence, a log, and sizes to compare."""

import argparse
import json
import logging
import math
import shlex
import shutil
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch

from elastic import Arch, Supernet

ROOT = Path(__file__).parents[2]
MEASURED = Path(__file__).parent / "measured"
VERSION = "VERSION"


def table_parser(doc: str, settings: Iterable[str], passes: int | None, out: str) -> argparse.ArgumentParser:
    """The arguments that all of them take; without `passes` a training's length isn't one of them."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--setting", choices=settings, required=True)
    if passes is not None:
        parser.add_argument("--passes", type=int, default=passes, help="image passes of a training")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(out), help="keeps what is done")
    return parser


def quiet() -> None:
    """Only what is written on purpose is seen."""
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


class Log:
    """Results of one way to measure, a line of JSON each; those of other ways in the same file are left alone.

    They are added to `name` in `out`. What stands in the file of this name in `measured/`, beside the scripts, counts
    as well: results that are worth their hours are copied there and committed, and no training is repeated for them.
    """

    def __init__(self, out: Path, name: str, way: Mapping[str, Any]) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path, self.way = out / name, dict(way)
        files = [file for file in (MEASURED / name, self.path) if file.exists()]
        found = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
        once = {json.dumps({**one, "command": ""}): one for one in found}  # a committed command names other folders
        self.results = [one for one in once.values() if self.way.items() <= one.items()]

    def has(self, **values: Any) -> bool:
        """Whether there is a result with these values."""
        return any(values.items() <= one.items() for one in self.results)

    def add(self, **found: Any) -> None:
        """Keep a result, with the command that made it and the version of the code."""
        made = {"command": shlex.join(["python", *sys.argv]), "version": code_version()}
        self.results.append({**self.way, **found, **made})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.results[-1], ensure_ascii=False) + "\n")


def in_sittings(
    log: Log,
    names: Iterable[str],
    options: argparse.Namespace,
    runs: str,
    trained: Callable[[str, int, Path], Mapping[str, Any]],
) -> None:
    """Make and log what isn't there: every name, for every seed.

    Args:
        log: keeps the results, with their `method` and `seed`.
        names: of all trainings, in order; `options.only` says which of them.
        options: as `table_parser` reads them.
        runs: name of the folder that keeps a training until it is done, with {} for its name and its seed.
        trained: trains what has this name, with this seed and in this folder, and gives what is to be logged.
    """
    for seed in range(options.seeds):
        for name in names:
            if not fnmatch(name, options.only) or log.has(method=name, seed=seed):
                continue
            torch.manual_seed(seed)
            folder = options.out / "runs" / runs.format(name, seed)
            log.add(method=name, seed=seed, **trained(name, seed, folder))
            shutil.rmtree(folder)


def code_version() -> str:
    """The commit of the code: what `lab.py` wrote beside its frozen copy, or what git says of the working copy."""
    written = ROOT / VERSION
    if written.is_file():
        return written.read_text().strip()
    found = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip()


def ladder(supernet: Supernet, archs: Sequence[Arch], middles: int) -> dict[str, Arch]:
    """The smallest, the largest, and those of `archs` that are nearest to equal steps of MACs between them."""
    space, macs = supernet.space, dict(zip(archs, map(int, supernet.macs(archs)), strict=True))
    low, high = map(int, supernet.macs([space.smallest, space.largest]))
    found = {"smallest": space.smallest}
    for k in range(1, middles + 1):
        target = low + (high - low) * k / (middles + 1)
        found[f"middle {k}"] = min(archs, key=lambda arch, target=target: abs(macs[arch] - target))
    return {**found, "largest": space.largest}


def accuracy_table(results: Sequence[Mapping[str, Any]], macs: Mapping[str, int], rows: Iterable[str]) -> str:
    """Mean accuracy of each subnet over seeds, ± standard error; with one seed, that of the count of test images.

    A row has what was trained under its name, or under its name and a subnet's: "alone: smallest".
    """
    header = [f"{name} ({count / 1e6:.2f} M)" for name, count in macs.items()]
    lines = ["| trained | " + " | ".join(header) + " | trainings | passes in all | seeds |"]
    lines.append("|---" * (len(macs) + 4) + "|")
    for name in rows:
        found = [one for one in results if one["method"] == name or one["method"].startswith(f"{name}:")]
        cells = [
            _cell([one["accuracy"][subnet] for one in found if subnet in one["accuracy"]], found) for subnet in macs
        ]
        seeds = len({one["seed"] for one in found})
        passes = sum(one["passes_taken"] for one in found) / max(seeds, 1)
        cells += [f"{len(found) // max(seeds, 1)}", f"{passes / 1e6:.2f} M", f"{seeds}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    images = ", ".join(sorted({f"{one['n']:,}" for one in results}))
    return "\n".join([*lines, "", f"Accuracy in percent on n = {images} test images, ± standard error."])


def _cell(values: Sequence[float], found: Sequence[Mapping[str, Any]]) -> str:
    if not values:
        return "–"
    mean = statistics.mean(values)
    if len(values) > 1:
        return f"{mean:.2f} ± {statistics.stdev(values) / math.sqrt(len(values)):.2f}"
    return f"{mean:.2f} ± {math.sqrt(mean * (100 - mean) / found[0]['n']):.2f}"
