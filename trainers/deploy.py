"""The verbs that need images: search and extract. The data is that of the training run, unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import get_console
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from elastic.arch import Arch
from elastic.card import Card
from elastic.commands import choose_arch, export_table, parse_budget, result_table
from elastic.errors import CheckpointError
from elastic.evaluation import Batch, MeasuredAccuracy
from elastic.export import Exported, export
from elastic.measure import torch_threads
from elastic.profile import DeviceProfile
from elastic.report import Report, write_report
from elastic.result import SearchResult
from elastic.search import search as run_search
from elastic.storage import load_source, load_supernet
from elastic.supernet import Supernet
from elastic.words import spell_count, spell_figure, spell_name
from trainers.configurations import UsageError

if TYPE_CHECKING:
    from trainers.data import ImageDataModule

CALIBRATION_BATCHES = 8


def search(
    supernet: str,
    budget: str = "",
    profile: str | None = None,
    maximize: str = "accuracy",
    minimize: str | None = None,
    population: int = 16,
    generations: int = 6,
    images: int = 2048,
    data: str | None = None,
    out: str = "search.json",
    report: str | None = None,
    threads: int = 1,
    seed: int = 0,
) -> None:
    """Find the best subnet within a budget, by measured accuracy.

    Args:
        supernet: a trained supernet's folder.
        budget: the largest values allowed, as latency_ms=8 or macs=2e6,params=1e5; also memory_bytes.
        profile: a device profile; needed for latency_ms.
        maximize: figures to maximise, separated by commas.
        minimize: figures to minimise; latency_ms where there is a profile, else macs.
        population: subnets per generation.
        generations: how many; population × generations subnets are evaluated at most.
        images: validation images to measure the accuracy on, at most.
        data: a YAML file with a data section; the training run's own config.yaml by default.
        out: the JSON file to write.
        report: an HTML page to write, too.
        threads: threads that measuring the accuracy takes; small networks lose with more than one.
        seed: draws the subnets.
    """
    trained = load_supernet(supernet)
    measured = None if profile is None else DeviceProfile.load(profile)
    for name, number in (("images", images), ("threads", threads)):
        if number < 1:
            raise UsageError(f"--{name} {number}: wanted 1 or more")
    evaluate = measured_accuracy(trained, load_data(data or Path(supernet) / "config.yaml"), images)
    with torch_threads(threads):
        result = run_search(
            trained,
            maximize=_names(maximize),
            minimize=_names(minimize or ("macs" if measured is None else "latency_ms")),
            subject_to=parse_budget(budget),
            evaluate=evaluate,
            profile=measured,
            population=population,
            generations=generations,
            seed=seed,
            progress=True,
        )
    result.save(out)
    console = get_console()
    console.print(result_table(result))
    console.print(f"search: {out}; cut the best out with: elastic extract {supernet} --result {out}", highlight=False)
    if report is not None:
        steps = [("search", f"elastic search {supernet} --budget {budget or '…'} --out {out}")]
        note = "" if measured is None else prediction_note(measured, trained)
        summary = summarize(trained, result)
        write_report(Report(f"Subnets of {supernet}", trained, result, summary, steps, front_notes=note), report)
        console.print(f"report: {report}", highlight=False)


def extract(
    supernet: str,
    arch: str | None = None,
    result: str | None = None,
    out: str = "subnet",
    formats: str = "safetensors",
    data: str | None = None,
) -> None:
    """Cut a subnet out of a trained supernet: an ordinary model, in a folder of its own.

    BatchNorm statistics are re-estimated on training images where the model has any.

    Args:
        supernet: a trained supernet's folder.
        arch: which subnet: smallest, largest, JSON such as {"depth": 3, ...}, or a file with such JSON.
        result: a search result, whose best subnet is taken.
        out: the folder to write.
        formats: of safetensors and onnx, separated by commas; safetensors is always among them.
        data: a YAML file with a data section; the training run's own config.yaml by default.
    """
    trained = load_supernet(supernet)
    chosen = choose_arch(trained, arch, result)
    path = Path(data or Path(supernet) / "config.yaml")
    # without BatchNorm, all that the data's section adds is what the card says
    images = load_data(path) if data is not None or path.exists() or has_batchnorm(trained) else None
    subnet = calibrated(trained, chosen, images)
    figures = {} if result is None else dict(SearchResult.load(result).best.figures)
    card = Card(title=f"Subnet {chosen.id} of {Path(supernet).name}", figures=figures)
    written = extract_to(trained, subnet, chosen, supernet, out, ["safetensors", *_names(formats)], card, images)
    get_console().print(export_table(written))


COMMANDS: Mapping[str, Callable[..., None]] = {"search": search, "extract": extract}
"""Verb → function; the command line is made from its signature and docstring."""


# --- steps that the demo takes too --------------------------------------------------------------------------


def load_data(path: str | Path) -> ImageDataModule:
    """The data module that a configuration's `data` section describes.

    Raises:
        CheckpointError: no such file, or no `data` section that can be understood.
    """
    import yaml
    from jsonargparse import ArgumentError, ArgumentParser

    from trainers import digits, timm_data  # noqa: F401 - so that their classes can be named without a path
    from trainers.data import ImageDataModule

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} doesn't exist; pass --data, a YAML file with the data section of a training")
    try:
        section = yaml.safe_load(path.read_text("utf-8"))["data"]
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(ImageDataModule, "data")
        made = parser.instantiate_classes(parser.parse_object({"data": section})).data
    except (yaml.YAMLError, ArgumentError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} has no data section that can be understood: {error}") from error
    assert isinstance(made, ImageDataModule)
    return made


def measured_accuracy(supernet: Supernet, data: ImageDataModule, images: int = 2048) -> MeasuredAccuracy:
    """Measures accuracy on (part of) the validation images, after re-estimating BatchNorm on training images."""
    calibration = calibration_images(data) if has_batchnorm(supernet) else []
    return MeasuredAccuracy(supernet, first_images(data.val_dataloader(), images), calibration)


def calibrated(supernet: Supernet, arch: Arch, data: ImageDataModule | None) -> nn.Module:
    """The extracted subnet, its BatchNorm re-estimated; the images are only read where there is BatchNorm."""
    calibration = calibration_images(data) if data is not None and has_batchnorm(supernet) else []
    return MeasuredAccuracy(supernet, [], calibration).subnet(arch)


def calibration_images(data: ImageDataModule) -> list[Tensor]:
    """Training images for BatchNorm statistics, at full resolution."""
    return list(islice(data.calibration_batches(), CALIBRATION_BATCHES))


def has_batchnorm(supernet: Supernet) -> bool:
    """Whether statistics have to be re-estimated for each subnet."""
    return any(isinstance(module, _BatchNorm) for module in supernet.modules())


def first_images(batches: Iterable[Batch], images: int) -> list[Batch]:
    """The first batches, until they hold `images` or more."""
    kept: list[Batch] = []
    for batch in batches:
        if sum(len(labels) for _, labels in kept) >= images:
            break
        kept.append((batch[0], batch[1]))
    return kept


def extract_to(
    supernet: Supernet,
    subnet: nn.Module,
    arch: Arch,
    origin: str | Path,
    out: str | Path,
    formats: list[str],
    card: Card,
    data: ImageDataModule | None = None,
) -> Exported:
    """Export an extracted subnet so that `elastic.export.load_subnet` can load it."""
    import torch

    shape = supernet.input_shape(arch)
    example = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    preprocessing = None if data is None else data.preprocessing
    if preprocessing and list(preprocessing.get("input_size", shape)) != list(shape):  # see `Supernet.resize`
        preprocessing["then_resized_to"] = {"size": list(shape[1:]), "interpolation": "bilinear", "antialias": True}
    source = load_source(origin)
    return export(
        subnet, out, formats, example, arch=arch, source=source, card=card, preprocessing=preprocessing or None
    )


def summarize(supernet: Supernet, result: SearchResult) -> dict[str, str]:
    """The figures of a search's best, for the top of its report."""
    figures: dict[str, Any] = dict(result.best.figures)
    shown = [*result.maximize, *result.minimize, "params", "macs"]
    summary = {spell_name(name): spell_figure(name, figures[name]) for name in dict.fromkeys(shown)}
    return {**summary, "subnets in all": spell_count(supernet.space.size)}


def prediction_note(profile: DeviceProfile, supernet: Supernet) -> str:
    """How far predicted latencies are from measured ones, for a report."""
    error = profile.prediction_error(supernet)
    return (
        f"Latencies are predicted; cross-validated over {error.n} measured subnets, the prediction is off by "
        f"{error.mape:.1f} % on average, with Kendall τ {error.tau:.2f}."
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
