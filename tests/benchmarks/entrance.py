"""CPU time (user + system) of commands, as a ratio to importing torch and timm, measured beside each other; and that of
the first costs of a supernet.

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
from collections.abc import Iterator
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


FIRST_COSTS = """
import sys, time, timm, torch, elastic
supernet = elastic.elasticize(timm.create_model("mobilenetv3_large_100").eval())
times = [time.process_time()]
for cost in (supernet.macs, supernet.memory):
    cost(supernet.space.largest)
    times.append(time.process_time())
sys.stdout.write(f"{times[1] - times[0]} {times[2] - times[1]}")
"""


def spread(values: list[float]) -> str:
    """Median, smallest and largest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def commands(times: int) -> Iterator[str]:
    """A line of the table for each command."""
    measured = {f"`elastic {words}`": (BASE, [*MAIN, *words.split()]) for words in [*LIGHT, *HEAVY]}
    measured["`import elastic`"] = (TORCH, [*PYTHON, "import elastic"])
    limits = {f"`elastic {words}`": 0.15 for words in LIGHT} | {f"`elastic {words}`": 1.3 for words in HEAVY}
    limits["`import elastic`"] = 1.1
    for name, (base, command) in measured.items():
        seconds: list[float] = []
        ratios: list[float] = []
        for turn in range(times + 1):
            with tempfile.TemporaryDirectory() as folder:
                took, beside = cpu_seconds(command, folder), cpu_seconds([*PYTHON, base], folder)
            if turn:
                seconds.append(took)
                ratios.append(took / beside)
        yield f"| {name} | {statistics.median(seconds):.2f} | {spread(ratios)} | `{base}` | {limits[name]} |"


def first_costs(times: int) -> Iterator[str]:
    """A line of the table for each cost of MobileNetV3-Large, in a process of its own."""
    printed = [subprocess.check_output([*PYTHON, FIRST_COSTS], text=True).split() for _ in range(times)]
    for name, values in zip(("macs", "memory"), zip(*printed, strict=True), strict=True):
        yield f"| first `{name}` | {spread([float(value) for value in values])} | 0.5 |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="measurements of each")
    times = parser.parse_args().times
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PYTHONPATH"] = str(Path.cwd())
    lines = ["| command | CPU seconds | ratio | to | at most |", "|---|---|---|---|---|", *commands(times), ""]
    lines += ["| MobileNetV3-Large | CPU seconds | at most |", "|---|---|---|", *first_costs(times)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
