"""The program of a kit, which needs Python 3.10, numpy and onnxruntime; `elastic.profiles.kit` adds the protocol.

python measure.py --threads 1
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elastic.support.files import write_text
from elastic.timing.protocol import Run, describe_device, journal_path, measure_groups, measurement_journal, timed_keys

MEASURED_KIND = "elastic measurements"


def main() -> None:
    """Measure the kit that this file is in."""
    folder = Path(__file__).resolve().parent
    text = (folder / "kit.json").read_text("utf-8")
    kit = json.loads(text)
    parser = argparse.ArgumentParser(description="Measure the models of this kit, and write measured.json.")
    parser.add_argument("--threads", type=int, default=kit["setting"]["threads"], help="threads within an operator")
    parser.add_argument("--seconds", type=float, default=kit["time_limit"], help="of measuring, in all")
    parser.add_argument("--out", type=Path, default=folder / "measured.json", help="the file to write")
    given = parser.parse_args()
    if given.threads < 1 or not given.seconds > 0:
        parser.error(f"wanted 1 thread or more, and more than 0 seconds; got {given.threads} and {given.seconds}")
    kit["setting"]["threads"] = given.threads
    device, groups = _measure_kit(kit, folder, given.seconds, journal_path(given.out))
    write_text(given.out, json.dumps({**kit, "kind": MEASURED_KIND, "device": device, "groups": groups}) + "\n")
    journal_path(given.out).unlink()
    sys.stderr.write(f"\n{given.out}: take it to the supernet: elastic profile import SUPERNET {given.out.name}\n")


def _measure_kit(kit: dict[str, Any], folder: Path, seconds: float, unfinished: Path) -> tuple[dict[str, Any], Any]:
    """The device, and its times."""
    import onnxruntime

    device = {**describe_device(), "onnxruntime": onnxruntime.__version__}
    digest = hashlib.sha256(json.dumps(kit).encode()).hexdigest()
    header = {"threads": kit["setting"]["threads"], "kit": digest, **device, "date": ""}
    journal = measurement_journal(unfinished, header, SystemExit)

    def prepare(keys: Sequence[str]) -> list[Run]:
        sys.stderr.write(f"\rmeasured {len(timed_keys(journal))} of {len(kit['files'])} ")
        sys.stderr.flush()
        return [_open(folder / kit["files"][key], kit["setting"]["threads"]) for key in keys]

    options = {name: kit[name] for name in ("tolerance", "seed", "together")}
    reference = prepare([kit["reference"]])[0]
    measure_groups(list(kit["files"]), prepare, reference, journal, seconds=seconds, **options)
    return device, journal.entries


def _open(path: Path, threads: int) -> Run:
    """A forward pass of an ONNX file on random inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feeds = {
        one.name: rng.standard_normal(one.shape, np.float32)
        if one.type == "tensor(float)"
        else np.zeros(one.shape, one.type[len("tensor(") : -1])
        for one in session.get_inputs()
    }
    return lambda: session.run(None, feeds)


if __name__ == "__main__":
    main()
