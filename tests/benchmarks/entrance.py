"""CPU time (user + system) of commands, as a ratio to importing torch and timm, measured beside each other.

    python tests/benchmarks/entrance.py --times 5

Prints a Markdown table: medians, and the smallest and largest measurements. The first run of each is not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

MAIN = [sys.executable, "-m", "trainers.cli.main"]
PYTHON = [sys.executable, "-c"]
BASE, TORCH = "import torch, timm", "import torch"

LIGHT = ["--help", "--version", "fit --help", "search --help", "profile check --help", "zoo list --help", "zoo list"]
HEAVY = ["inspect resnet18", "extract ofa_mbv3_fashion_mnist --arch smallest"]


def cpu_seconds(command: list[str], folder: str) -> float:
    """User and system seconds of a child process that ends well."""
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed: {child.stderr.read().decode()}")
    child.stderr.close()
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="measurements of each")
    times = parser.parse_args().times
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PYTHONPATH"] = str(Path.cwd())
    commands = {f"`elastic {words}`": (BASE, [*MAIN, *words.split()]) for words in [*LIGHT, *HEAVY]}
    commands["`import elastic`"] = (TORCH, [*PYTHON, "import elastic"])
    limits = {f"`elastic {words}`": 0.15 for words in LIGHT} | {f"`elastic {words}`": 1.3 for words in HEAVY}
    limits["`import elastic`"] = 1.1
    lines = ["| command | CPU seconds | ratio | to | at most |", "|---|---|---|---|---|"]
    for name, (base, command) in commands.items():
        seconds: list[float] = []
        ratios: list[float] = []
        for turn in range(times + 1):
            with tempfile.TemporaryDirectory() as folder:
                measured, beside = cpu_seconds(command, folder), cpu_seconds([*PYTHON, base], folder)
            if turn:
                seconds.append(measured)
                ratios.append(measured / beside)
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"| {name} | {statistics.median(seconds):.2f} | {spread} | `{base}` | {limits[name]} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
