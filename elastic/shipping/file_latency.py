"""Latency of exported files, each in its runtime, and of the model in PyTorch, timed against each other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from elastic.errors import ExportError, PackageError
from elastic.formats import FORMATS, Format
from elastic.formats.compare import Forward
from elastic.formats.onnx import ONNX
from elastic.formats.openvino import OPENVINO, open_file
from elastic.formats.ordered import names_and_values, ordered
from elastic.support.inputs import Inputs, first
from elastic.timing.backends import check_setting, fingerprint, prepare, torch_threads
from elastic.timing.protocol import Run, Timing, measure_groups, measurement_journal
from elastic.timing.records import Conditions
from elastic.timing.setting import Setting

SECONDS, TOLERANCE = 2.0, 0.02
"""Time for each file at most, and the relative uncertainty of the median that is good enough."""


def measure_latency(model: nn.Module, inputs: Inputs, places: Mapping[str, Path], threads: int) -> dict[str, Any]:
    """Time a forward pass of one input in PyTorch and in each runtime, by the protocol of `elastic.timing.protocol`.

    Args:
        model: on the CPU, in eval mode.
        inputs: the first is timed.
        places: each file's name → its folder.
        threads: that each may use.

    Returns:
        `device`, `threads`, `batch_size`, `runs` (for each `file`, empty for PyTorch, and `runtime`: `median_ms` and
        its `uncertainty`, relative), and `objections`: what speaks against trusting the times.

    Raises:
        ProfileError: threads below 1.
    """
    setting = Setting(threads=threads)
    check_setting(setting)
    one = first(inputs, 1)
    names, values = names_and_values(one)
    pytorch = prepare(ordered(model, names), values, setting)
    runners = _runners(places, threads)
    runs: dict[str, Run] = {"": pytorch, **{" ".join(row): partial(forward, one) for row, forward in runners.items()}}
    journal = measurement_journal(None, {}, ExportError)
    with torch_threads(threads):
        measure_groups(
            list(runs),
            lambda keys: [runs[key] for key in keys],
            pytorch,
            journal,
            seconds=SECONDS * len(runs),
            tolerance=TOLERANCE,
            seed=0,
        )
    device = fingerprint(setting)
    conditions = Conditions.of(journal.entries, TOLERANCE)
    timings = {
        key: Timing(tuple(times), pace)
        for group, pace in zip(journal.entries, conditions.paces, strict=True)
        for key, times in group["timings"].items()
    }
    rows = [("", f"PyTorch {device['torch']}, eager"), *runners]
    return {
        "device": device,
        "threads": threads,
        "batch_size": 1,
        "runs": [_row(*row, timings[key]) for row, key in zip(rows, runs, strict=True)],
        "objections": conditions.objections(list(timings.values())),
    }


def _runners(places: Mapping[str, Path], threads: int) -> dict[tuple[str, str], Forward]:
    """File and runtime → the file, opened. OpenVINO, where it is installed, runs ONNX files too."""
    found = {}
    for made in FORMATS.values():
        if made.open is not None and made.files[0] in places and _installed(made):
            path = places[made.files[0]] / made.files[0]
            found[path.name, made.runs_on] = made.open(path, threads)
    if ONNX.files[0] in places and OPENVINO.files[0] not in places and _installed(OPENVINO):
        path = places[ONNX.files[0]] / ONNX.files[0]
        found[path.name, OPENVINO.runs_on] = open_file(path, threads)
    return found


def _installed(made: Format) -> bool:
    try:
        made.require()
    except PackageError:
        return False
    return True


def _row(file: str, runtime: str, timing: Timing) -> dict[str, Any]:
    return {
        "file": file,
        "runtime": runtime,
        "median_ms": round(timing.median_ms, 5),
        "uncertainty": round(timing.uncertainty, 4),
    }
