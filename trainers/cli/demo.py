"""`elastic demo`: the whole job on real images, one command after the other."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # in quotes below: to resolve postponed annotations jsonargparse would import these
    from collections.abc import Iterator
    from pathlib import Path

_CHECKED = 8
"""The profile's predictions are compared with so many fresh subnets."""

_DRAWN, _MEET = 1000, 0.8
"""The budget is what this part of so many random subnets meets."""


def demo(
    out: str = "runs/demo",
    config: str = "digit_scenes",
    runtime: str = "onnxruntime",
    *,
    subnets: int = 24,
    time_limit: float = 20.0,
    population: int = 16,
    generations: int = 6,
    batch_size: int = 64,
    seed: int = 0,
) -> None:
    """Train on digits over photographs, profile, search, cut out, export, and draw a report.

    Each step is a command, shown before it runs. Nothing is downloaded. Run again, it keeps a finished training and
    continues an interrupted one.

    Args:
        out: the folder for everything.
        config: the training's YAML file, or the name of a shipped one.
        runtime: what the budget is about, onnxruntime or torch.
        subnets: how many subnets to measure on this machine.
        time_limit: seconds of measuring.
        population: subnets per generation of the search.
        generations: how many generations.
        batch_size: images that each run of a subnet is given while its latency is measured.
        seed: of measuring and search.
    """
    import shlex
    import time
    from pathlib import Path

    from rich import get_console

    from elastic.formats.onnx_files import require_onnx
    from elastic.timing.backends import check_setting, torch_threads
    from elastic.timing.setting import Setting
    from trainers.cli.main import run_command

    check_setting(Setting(runtime, batch_size=batch_size))
    require_onnx()
    console, began = get_console(), time.perf_counter()
    measuring = f"--runtime {runtime} --batch_size {batch_size} --subnets {subnets}"
    searching = f"--population {population} --generations {generations}"
    # networks this small gain nothing from a second thread, and on a busy machine lose much
    with torch_threads(1):
        for title, words in _steps(Path(out), config, measuring, time_limit, searching, seed):
            console.rule(title, align="left")
            console.print(f"$ elastic {shlex.join(words)}", style="bold", highlight=False, soft_wrap=True)
            run_command(words)
    console.rule(f"Done in {time.perf_counter() - began:.0f} s", align="left")
    console.print(
        f"open {out}/report.html in a browser; the subnet is in {out}/subnet; training curves: tensorboard --logdir "
        f"{out}/train",
        highlight=False,
        soft_wrap=True,
    )


def _steps(
    folder: "Path", config: str, measuring: str, time_limit: float, searching: str, seed: int
) -> "Iterator[tuple[str, list[str]]]":
    """Titles and commands, each given when those before it have run."""
    run, profile = str(folder / "train"), str(folder / "profile.json")
    training = ["fit", "--config", config, "--runs", str(folder), "--name", "train"]
    if (folder / "train" / "last.ckpt").exists():
        training += ["--ckpt_path", "last"]
    yield "1  Train a supernet on handwritten digits over photographs", training
    # whole subnets alone: the hundreds of different blocks would take minutes to prepare
    options = f"{measuring} --time_limit {time_limit} --blocks 0 --seed {seed} --accept_noise".split()
    yield "2  Measure this machine", ["profile", run, "--out", profile, *options]
    options = f"--subnets {_CHECKED} --time_limit {time_limit / 2} --seed {seed + 1} --accept_noise".split()
    yield "3  Compare predictions with fresh measurements", ["profile", "check", run, "--profile", profile, *options]
    options = f"--budget latency_ms={_budget(run, profile, seed):.3g} {searching} --seed {seed} --formats onnx".split()
    files = {"out": "search.json", "csv": "search.csv", "report": "report.html", "extract": "subnet"}
    options += [word for option, name in files.items() for word in (f"--{option}", str(folder / name))]
    options += ["--profile", profile, "--again_seconds", str(time_limit)]
    yield "4  Search within a budget, cut the best out, check its files", ["search", run, *options]


def _budget(run: str, profile: str, seed: int) -> float:
    """A latency in milliseconds that this part of the subnets meets, drawn from small to large."""
    import numpy as np

    from elastic.profiles.profile import DeviceProfile
    from elastic.space.sampling import spread_rows
    from trainers.jobs.trained import open_trained

    supernet = open_trained(run).supernet
    predicted = DeviceProfile.load(profile).latency_ms(supernet, spread_rows(supernet.space, seed, _DRAWN))
    return float(np.quantile(predicted, _MEET))
