"""What tables share that are made of trainings in several sittings: arguments, silence, a log, and sizes to compare."""

import argparse
import json
import logging
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from elastic import Arch, Supernet

ROOT = Path(__file__).parents[2]
MEASURED = Path(__file__).parent / "measured"
VERSION = "VERSION"


def table_parser(doc: str, settings: Iterable[str], passes: int, out: str) -> argparse.ArgumentParser:
    """The arguments that all of them take."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--setting", choices=settings, required=True)
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
        lines = dict.fromkeys(line for file in files for line in file.read_text("utf-8").splitlines())
        self.results = [one for one in map(json.loads, lines) if self.way.items() <= one.items()]

    def has(self, **values: Any) -> bool:
        """Whether there is a result with these values."""
        return any(values.items() <= one.items() for one in self.results)

    def add(self, **found: Any) -> None:
        """Keep a result, with the command that made it and the version of the code."""
        made = {"command": shlex.join(["python", *sys.argv]), "version": code_version()}
        self.results.append({**self.way, **found, **made})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.results[-1], ensure_ascii=False) + "\n")


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
