"""A queue of trainings that run for hours, one after the other, at low priority and on one core each.

    python tests/benchmarks/lab.py tests/benchmarks/lab.yaml --data FOLDER --out FOLDER

Each entry of the queue is a script of this folder with its options. The first start copies the committed code to
`<out>/code`, and every later one uses that copy, whatever has become of the code meanwhile; remove it for a new one.
The scripts keep each result as a line of JSON, with their command and the code's version, and each training's last
epoch: killed and started again, the queue goes on where it was. Results that stand in `measured/` aren't made again.
Two queues with outs of their own run on two cores.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import yaml
from sittings import ROOT, VERSION, code_version


def frozen(out: Path) -> Path:
    """The copy of the committed code in `out`."""
    code = out / "code"
    if not (code / VERSION).exists():
        packed = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(code, filter="data")
        (code / VERSION).write_text(code_version())
    return code


def command(entry: dict, data: Path, out: Path) -> list[str]:
    """The words of an entry such as {script: methods_table, setting: cifar10, passes: 8000000}."""
    options = {key: value for key, value in entry.items() if key != "script"}
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    script = str(Path("tests", "benchmarks", f"{entry['script']}.py"))
    return [sys.executable, script, "--data", str(data), "--out", str(out / entry["script"]), *words]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("queue", type=Path, help="a YAML file: a list of entries")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--out", type=Path, default=Path("runs/lab"), help="keeps the code, trainings and results")
    parser.add_argument("--nice", type=int, default=19, help="how far other work goes first: 0 to 19")
    options = parser.parse_args()
    data, out = options.data.resolve(), options.out.resolve()
    queue = yaml.safe_load(options.queue.read_text("utf-8"))
    code = frozen(out)
    os.nice(options.nice)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    for entry in queue:
        words, began = command(entry, data, out), time.perf_counter()
        with (out / "log.txt").open("a", encoding="utf-8") as log:
            done = subprocess.run(words, cwd=code, env={**os.environ, **threads, "PYTHONPATH": str(code)}, stdout=log)
            minutes = (time.perf_counter() - began) / 60
            log.write(f"exit {done.returncode} after {minutes:.0f} minutes: {' '.join(words)}\n")


if __name__ == "__main__":
    main()
