"""Smallest, middle and largest subnet of a trained supernet, cut out and measured: a Markdown table.

    .venv/bin/python tests/benchmarks/subnets_table.py runs/fashion_mnist

Accuracy is on the test split, which chose nothing; latency is one image, one thread, median of at least 20 runs.
"""

import math
import sys
from pathlib import Path

from elastic import Setting, load_supernet
from elastic.supernet.evaluation import MeasuredAccuracy, accuracy
from elastic.timing.backends import fingerprint, prepare, torch_threads
from elastic.timing.protocol import Timing, time_runs
from trainers.jobs.calibration import CALIBRATION_BATCHES, calibration_images
from trainers.jobs.data_section import load_data

RUNTIMES = ("torch", "onnxruntime")


def table(folder: Path, seconds: float = 10.0) -> str:
    """The table of one run folder."""
    supernet, data = load_supernet(folder), load_data(folder / "config.yaml")
    space = supernet.space
    middle = {dim.name: dim.choices[len(dim.choices) // 2] for dim in space.dims}
    archs = {"smallest": space.smallest, "middle": space.arch(middle), "largest": space.largest}
    measure = MeasuredAccuracy(supernet, data.test_dataloader(), calibration_images(data))
    lines = [
        "| subnet | parameters | MACs | test accuracy (± standard error) | PyTorch | onnxruntime |",
        "|---|---|---|---|---|---|",
    ]
    count = sum(len(labels) for _, labels in measure.validation)
    timed = latencies(measure, list(archs.values()), seconds)
    for (name, arch), timings in zip(archs.items(), timed, strict=True):
        share = accuracy(measure.subnet(arch), measure.sized(arch))
        error = math.sqrt(share * (100 - share) / count)
        cells = " | ".join(f"{timing.median_ms:.3g} ms (IQR {timing.iqr_ms:.2g})" for timing in timings)
        params, macs = supernet.params([arch])[0] / 1e3, supernet.macs([arch])[0] / 1e6
        lines.append(f"| {name} | {params:.0f} k | {macs:.2f} M | {share:.2f} ± {error:.2f} % | {cells} |")
    device = fingerprint(Setting("onnxruntime"))
    lines.append(
        f"\nn = {count:,} test images; BatchNorm re-estimated on {CALIBRATION_BATCHES} training batches; "
        f"{device['processor']}, PyTorch {device['torch']}, onnxruntime {device['onnxruntime']}, "
        f"at least {min(timing.runs for row in timed for timing in row)} runs each."
    )
    return "\n".join(lines)


def latencies(measure: MeasuredAccuracy, archs: list, seconds: float) -> list[list[Timing]]:
    """By arch, the latency on each runtime; all are measured in turns."""
    with torch_threads(1):
        runs = [
            prepare(measure.subnet(arch), [measure.sized(arch)[0][0][:1]], Setting(runtime))
            for arch in archs
            for runtime in RUNTIMES
        ]
        timings = time_runs(runs, seconds * len(runs), tolerance=0.01)
    return [timings[at : at + len(RUNTIMES)] for at in range(0, len(timings), len(RUNTIMES))]


if __name__ == "__main__":
    sys.stdout.write(table(Path(sys.argv[1])) + "\n")
