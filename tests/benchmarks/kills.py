"""Kills at drawn moments of training, search, measuring and export: nothing is lost, and the end is that of no kill.

    PYTHONPATH=tests/helpers python tests/benchmarks/kills.py --kills 1000

Each command runs once undisturbed. Then it is killed (SIGKILL) after a drawn time, started again with the same words,
killed again and so on until it ends by itself: what it has written then equals what the undisturbed one wrote. After
each kill all that was there is read: it is whole, and no less than before. Prints a Markdown table, a row for each
command; ends with status 1 where anything was lost.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from bits import bits
from forked import run_elastic
from safetensors.torch import load_file

from elastic.profiles.profile import DeviceProfile
from elastic.searching.result import SearchResult
from elastic.shipping.loading import open_subnet
from trainers.checkpoints import KEY, read_checkpoint

CONFIG = {
    "runs": "runs",
    "model": {
        "supernet": {
            "model": "resnet18",
            "model_args": {"num_classes": 10, "channels": [8, 16, 16, 24], "layers": [2, 1, 2, 1], "drop_rate": 0.2},
            "input_size": [1, 32, 32],
        },
        "optimizer": {"momentum": 0.9},
        "curriculum": {"phases": [{"epochs": 2, "learning_rate": 0.05, "warmup_epochs": 1}]},
        "validation": {"middles": 0, "calibration_batches": 1},
    },
    "data": {"class_path": "Digits", "init_args": {"batch_size": 16}},
    "trainer": {"accelerator": "cpu", "limit_train_batches": 5, "limit_val_batches": 1, "log_every_n_steps": 1},
}


@dataclass(frozen=True)
class Job:
    """A command that is killed.

    Attributes:
        words: behind `elastic`, given whether it goes on.
        made: what it makes, below its folder; removed before it begins anew.
        done: how far it has come, from what it left; raises where anything is broken.
        end: what must be the same at the end, killed or not.
    """

    words: Callable[[bool], list[str]]
    made: str
    done: Callable[[Path], int]
    end: Callable[[Path], Any]


# --- the commands ---------------------------------------------------------------------------------------------


def fit(resumed: bool) -> list[str]:
    """A training with a checkpoint after each step."""
    words = ["fit", "--config", "fit.yaml", "--name", "fit", "--checkpoint_every", "1"]
    return [*words, "--ckpt_path", "last"] if resumed else words


def fit_done(folder: Path) -> int:
    """Steps that the last checkpoint has."""
    file = folder / "runs/fit/last.ckpt"
    return int(read_checkpoint(file)["global_step"]) if file.exists() else 0


def fit_end(folder: Path) -> Any:
    """The training's whole state, and the weights."""
    state = read_checkpoint(folder / "runs/fit/last.ckpt")
    weights = load_file(folder / "runs/fit/supernet.safetensors")
    return bits([{part: state[part] for part in ("state_dict", "optimizer_states", KEY)}, weights])


def search(resumed: bool) -> list[str]:
    """A search by measured accuracy."""
    size = ["--population", "4", "--generations", "3", "--images", "64", "--again", "2", "--seed", "0"]
    return ["search", "runs/whole", "--maximize", "accuracy", "--minimize", "macs", "--out", "found/search.json", *size]


def search_done(folder: Path) -> int:
    """Subnets that the cache has; the result can be read where it is there."""
    if (folder / "found/search.json").exists():
        SearchResult.load(folder / "found/search.json")
    return _lines(folder / "found")


def search_end(folder: Path) -> Any:
    """All that was evaluated, and the front."""
    found = SearchResult.load(folder / "found/search.json")
    return [[(one.arch.id, dict(one.metrics)) for one in part] for part in (found.candidates, found.front)]


def profile(resumed: bool) -> list[str]:
    """A measurement of whole subnets."""
    size = ["--subnets", "8", "--blocks", "0", "--time_limit", "2", "--accept_noise"]
    return ["profile", "runs/whole", "--out", "profile/profile.json", *size]


def profile_done(folder: Path) -> int:
    """Groups of timings that were kept; the profile can be read where it is there."""
    if (folder / "profile/profile.json").exists():
        DeviceProfile.load(folder / "profile/profile.json")
        return 1_000_000  # what was kept has become the profile
    return _lines(folder / "profile")


def profile_end(folder: Path) -> Any:
    """Which subnets were measured: their times differ each time."""
    found = DeviceProfile.load(folder / "profile/profile.json")
    return [one.arch.id for one in found.subnets]


def export(resumed: bool) -> list[str]:
    """A subnet, over one that may be there."""
    return ["extract", "runs/whole", "--arch", "smallest", "--out", "subnets/smallest", "--overwrite"]


def export_done(folder: Path) -> int:
    """Whether the subnet is there: it can be read then, and else there is nothing but what was being written."""
    if not (folder / "subnets/smallest/config.json").exists():
        assert all(file.name.startswith(".") for file in (folder / "subnets").glob("*/*"))
        return 0
    open_subnet(folder / "subnets/smallest")
    return 1


def export_end(folder: Path) -> Any:
    """Its weights, and the names of its files; hidden folders of killed processes are swept after a day."""
    names = sorted(file.name for file in (folder / "subnets/smallest").iterdir() if not file.name.startswith("."))
    return names, bits(load_file(folder / "subnets/smallest/model.safetensors"))


JOBS = {
    "fit": Job(fit, "runs/fit", fit_done, fit_end),
    "search": Job(search, "found", search_done, search_end),
    "profile": Job(profile, "profile", profile_done, profile_end),
    "extract": Job(export, "subnets", export_done, export_end),
}


def _lines(folder: Path) -> int:
    """Whole lines of the journals in a folder: each is JSON."""
    count = 0
    for file in folder.glob("*.jsonl"):
        whole = file.read_text("utf-8").split("\n")[:-1]
        count += len([json.loads(line) for line in whole])
    return count


# --- killing them ---------------------------------------------------------------------------------------------


def torment(job: Job, folder: Path, kills: int, draw: random.Random) -> tuple[int, int, list[str]]:
    """Kill a command so many times.

    Returns:
        How many were killed, how many ended by themselves in between, and what was wrong.
    """
    began = time.perf_counter()
    assert _run(job, folder) == 0
    seconds, whole = time.perf_counter() - began, job.end(folder)
    killed, ended, before, wrong = 0, 0, 0, []
    _remove(folder / job.made)
    while killed < kills:
        status = _run(job, folder, draw.uniform(0, seconds), resumed=before > 0)
        try:
            done = job.done(folder)
            if done < before:
                wrong.append(f"kill {killed}: {before} were done, {done} are left")
            if status == 0 and job.end(folder) != whole:
                wrong.append(f"ended after kill {killed}: not what it is without kills")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            wrong.append(f"kill {killed}: {type(error).__name__}: {error}")
            done = 0
        if status > 0:
            wrong.append(f"after kill {killed}: {(folder.parent / 'work-printed.txt').read_text('utf-8')[-500:]}")
        killed, ended, before = killed + (status < 0), ended + (status == 0), done
        if status >= 0 and job is not JOBS["extract"]:  # which replaces what it made, killed or not
            _remove(folder / job.made)
            before = 0
    return killed, ended, wrong


def _run(job: Job, folder: Path, seconds: float | None = None, resumed: bool = False) -> int:
    return run_elastic(job.words(resumed), folder, seconds=seconds)[0]


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def main() -> int:
    """Kill the commands, and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000, help="how many, over all commands")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments")
    parser.add_argument("--job", choices=JOBS, help="this command only")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    chosen = {name: job for name, job in JOBS.items() if given.job in (None, name)}
    began, draw, wrong, total = time.perf_counter(), random.Random(given.seed), [], 0
    sys.stdout.write("| command | killed | ended in between | anything lost |\n" + "|---" * 4 + "|\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "work"
        folder.mkdir()
        (folder / "fit.yaml").write_text(yaml.safe_dump(CONFIG))
        assert run_elastic(["fit", "--config", "fit.yaml", "--name", "whole"], folder)[0] == 0
        for name, job in chosen.items():
            killed, ended, lost = torment(job, folder, -(-given.kills // len(chosen)), draw)
            sys.stdout.write(f"| `elastic {name}` | {killed} | {ended} | {len(lost)} |\n")
            sys.stdout.flush()
            wrong += [f"{name}: {line}" for line in lost]
            total += killed
    sys.stdout.write(f"\n{total} kills in {time.perf_counter() - began:.0f} s; {len(wrong)} times anything lost:\n")
    sys.stdout.write("".join(f"- {line}\n" for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
