"""`elastic demo`: the whole job on real images, from training to a checked ONNX file and a report."""

from __future__ import annotations


def demo(
    out: str = "runs/demo",
    config: str | None = None,
    runtime: str = "onnxruntime",
    *,
    subnets: int = 32,
    time_limit: float = 20.0,
    population: int = 16,
    generations: int = 5,
    batch_size: int = 32,
    seed: int = 0,
) -> None:
    """Train on digits over photographs, profile, search, extract, export, and draw a report.

    Nothing is downloaded. Run again, it keeps a finished training and continues an interrupted one.

    Args:
        out: the folder for everything.
        config: the training's YAML file; the shipped digit_scenes.yaml by default.
        runtime: what the budget is about, onnxruntime or torch.
        subnets: how many subnets to measure on this machine.
        time_limit: seconds of measuring.
        population: subnets per generation of the search.
        generations: how many generations.
        batch_size: images that each run of a subnet is given while its latency is measured.
        seed: of measuring and search.
    """
    from pathlib import Path

    from elastic.formats.onnx_files import require_onnx
    from elastic.timing.backends import check_setting, torch_threads
    from elastic.timing.setting import Setting
    from trainers.jobs.demo import run

    setting = Setting(runtime, batch_size=batch_size)
    check_setting(setting)
    require_onnx()
    # networks this small gain nothing from a second thread, and on a busy machine lose much
    with torch_threads(1):
        run(Path(out), config or "digit_scenes", setting, subnets, time_limit, population, generations, seed)
