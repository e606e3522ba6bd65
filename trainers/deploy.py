"""The verb extract, and what all verbs need that judge subnets on images: those of the training run by default."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import get_console
from torch import Tensor, nn

from elastic.arch import Arch
from elastic.batchnorm import has_batchnorm, recalibrate
from elastic.card import Card
from elastic.commands import choose_arch, export_table, names_in
from elastic.errors import CheckpointError
from elastic.evaluation import Batch, MeasuredAccuracy, Recalibrate, resized
from elastic.export import Exported, export
from elastic.formats.writing import needs_inputs
from elastic.inputs import Inputs, example_inputs, example_text, longest_text
from elastic.named import find_supernet
from elastic.result import SearchResult
from elastic.storage import is_name, load_source, load_supernet
from elastic.supernet import Supernet
from trainers.robust_statistics import recalibration_for
from trainers.text import fit_tokenizer, load_tokenizer, save_tokenizer
from zoo.calibration import calibration
from zoo.catalog import vocabulary_file

if TYPE_CHECKING:
    from trainers.data import SupernetData

CALIBRATION_BATCHES = 8

VALIDATION_IMAGES = 1000
"""Labelled images that int8's accuracy is measured on, in whole batches."""


def extract(
    supernet: str,
    arch: str | None = None,
    result: str | None = None,
    out: str = "subnet",
    formats: str = "safetensors",
    data: str | None = None,
) -> None:
    """Cut a subnet out of a trained supernet: an ordinary model, in a folder of its own.

    BatchNorm statistics are re-estimated on training images where the model has any; on made-up ones where there are no
    others, and such come with the weights.

    Args:
        supernet: a trained supernet's folder; or a name that elastic zoo list shows, for its pretrained weights.
        arch: which subnet: smallest, largest, JSON such as {"depth": 3, ...}, or a file with such JSON.
        result: a search result, whose best subnet is taken.
        out: the folder to write.
        formats: as for elastic export, separated by commas; safetensors is always among them.
        data: a folder of images (train/CLASS/*, val/CLASS/*), or a YAML file with a data section; the training run's
            own config.yaml by default.
    """
    trained = load_supernet(supernet)
    chosen = choose_arch(trained, arch, result)
    # without BatchNorm, all that the data adds is what the card says
    made_up = calibration(supernet) if data is None and is_name(supernet) else []
    needed = has_batchnorm(trained) or needs_inputs(names_in(formats))
    wanted = data is not None or (Path(supernet) / "config.yaml").exists() or (needed and not made_up)
    images = find_data(trained, supernet, data) if wanted else None
    subnet = calibrated(trained, chosen, images, made_up, recalibration_for(supernet))
    figures = {} if result is None else dict(SearchResult.load(result).best.figures)
    write_subnet(trained, subnet, chosen, supernet, out, formats, figures, images, made_up)


COMMANDS: Mapping[str, Callable[..., None]] = {"extract": extract}
"""Verb → function; the command line is made from its signature and docstring."""


# --- steps that other verbs take too --------------------------------------------------------------------------


def find_data(supernet: Supernet, place: str, data: str | None) -> SupernetData:
    """The images that subnets are judged on, and that BatchNorm statistics are re-estimated on.

    Args:
        supernet: whose subnets.
        place: where it is from; by default its training's own `config.yaml` says which images.
        data: a folder of images, or a YAML file with a data section.

    Raises:
        CheckpointError: no such file, or no `data` section that can be understood.
    """
    if data is not None and Path(data).is_dir():
        if supernet.recipe.vocabulary is not None:
            raise CheckpointError(
                f"{data} is a folder, as images have it, and this supernet reads text; give a YAML file with the data "
                "section of a training, such as data: {class_path: Glue, init_args: {task: sst2, root: FOLDER, …}}"
            )
        from trainers.image_folder import ImageFolder

        return ImageFolder(data, supernet)
    found = load_data(data or Path(place) / "config.yaml")
    found.check(supernet)
    return found


def digest_data(place: str, data: str | None) -> str:
    """Eight hexadecimal digits for what `find_data` has found: for a folder's path, or what the data section says."""
    import yaml

    path = Path(data or Path(place) / "config.yaml")
    told = str(path.resolve()) if path.is_dir() else yaml.safe_load(path.read_text("utf-8"))["data"]
    return hashlib.blake2b(json.dumps(told, sort_keys=True, default=str).encode(), digest_size=4).hexdigest()


def load_data(path: str | Path) -> SupernetData:
    """The data module that a configuration's `data` section describes.

    Raises:
        CheckpointError: no such file, or no `data` section that can be understood.
    """
    import yaml
    from jsonargparse import ArgumentError, ArgumentParser

    from trainers import digits, glue, timm_data  # noqa: F401 - so that their classes can be named without a path
    from trainers.data import SupernetData

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path} doesn't exist; pass --data, a folder of images (train/CLASS/*, val/CLASS/*) or a YAML file with "
            "the data section of a training"
        )
    try:
        section = yaml.safe_load(path.read_text("utf-8"))["data"]
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(SupernetData, "data")
        made = parser.instantiate_classes(parser.parse_object({"data": section})).data
    except (yaml.YAMLError, ArgumentError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} has no data section that can be understood: {error}") from error
    assert isinstance(made, SupernetData)
    return made


def calibrated(
    supernet: Supernet,
    arch: Arch,
    data: SupernetData | None,
    made_up: Sequence[Tensor] = (),
    recalibrate: Recalibrate = recalibrate,
) -> nn.Module:
    """The extracted subnet, its BatchNorm re-estimated; the images are only read where there is BatchNorm."""
    images = made_up or calibration_for(supernet, data)
    return MeasuredAccuracy(supernet, [], images, recalibrate=recalibrate).subnet(arch)


def calibration_for(supernet: Supernet, data: SupernetData | None) -> list[Any]:
    """Training images for a supernet's BatchNorm statistics; they are only read where there is BatchNorm."""
    return calibration_images(data) if data is not None and has_batchnorm(supernet) else []


def calibration_images(data: SupernetData) -> list[Any]:
    """Training images for BatchNorm statistics, at full resolution."""
    return list(islice(data.calibration_batches(), CALIBRATION_BATCHES))


def first_images(batches: Iterable[Batch], images: int) -> list[Batch]:
    """The first batches, until they hold `images` or more."""
    kept: list[Batch] = []
    for batch in batches:
        if sum(len(labels) for _, labels in kept) >= images:
            break
        kept.append((batch[0], batch[1]))
    return kept


def samples(supernet: Supernet, arch: Arch, data: SupernetData, images: int) -> tuple[list[Any], list[Batch]]:
    """Training inputs of a subnet's size to calibrate int8 on; and labelled ones, `images` or a few more."""
    judged = MeasuredAccuracy(supernet, first_images(data.val_dataloader(), images))
    return resized(supernet, arch, calibration_images(data)), judged.sized(arch)


def name_of(data: SupernetData) -> str:
    """What a card calls the data."""
    place = getattr(data, "dataset", "") or Path(getattr(data, "root", "")).name
    return " ".join(word for word in (type(data).__name__, place) if word)


def write_subnet(
    supernet: Supernet,
    subnet: nn.Module,
    arch: Arch,
    origin: str,
    out: str,
    formats: str,
    figures: Mapping[str, float],
    data: SupernetData | None,
    made_up: Sequence[Tensor] = (),
) -> None:
    """Export an extracted subnet, `formats` separated by commas, with a card; and show its files."""
    named = find_supernet(origin) if is_name(origin) else None
    title, license_ = f"Subnet {arch.id} of {Path(origin).name}", named.license if named else ""
    card = Card(title, figures, data="" if data is None else name_of(data), license=license_)
    wanted = ["safetensors", *names_in(formats)]
    if data is not None and needs_inputs(wanted):
        inputs, labelled = samples(supernet, arch, data, VALIDATION_IMAGES)
    else:
        inputs, labelled = resized(supernet, arch, made_up), []
    written = extract_to(supernet, subnet, arch, origin, out, wanted, card, data, inputs, labelled)
    get_console().print(export_table(written))


def _example(supernet: Supernet, subnet: nn.Module, arch: Arch) -> Inputs:
    """Made-up inputs of the size that costs are counted on; of texts one is padded."""
    if supernet.recipe.vocabulary is None:
        return example_inputs(supernet, arch, 4, seed=0)
    return example_text(subnet.config, *supernet.input_shape(arch))


def _preprocessing(subnet: nn.Module, origin: str | Path, data: SupernetData | None) -> dict[str, Any]:
    """What the data says; of a named text model, which tokenizer."""
    if data is not None:
        return data.preprocessing
    if vocabulary_file(str(origin)) is None:
        return {}
    return {"tokenizer": str(origin), "max_length": longest_text(subnet)}


def extract_to(
    supernet: Supernet,
    subnet: nn.Module,
    arch: Arch,
    origin: str | Path,
    out: str | Path,
    formats: list[str],
    card: Card,
    data: SupernetData | None = None,
    inputs: Sequence[Inputs] = (),
    labelled: Sequence[Batch] = (),
) -> Exported:
    """Export an extracted subnet so that `elastic.export.load_subnet` can load it.

    Files are checked on `inputs`, and int8 is calibrated on them; on made-up ones where there are none.
    """
    shape = supernet.input_shape(arch)
    preprocessing = _preprocessing(subnet, origin, data)
    if preprocessing and list(preprocessing.get("input_size", shape)) != list(shape):  # see `Supernet.resize`
        preprocessing["then_resized_to"] = {"size": list(shape[1:]), "interpolation": "bilinear", "antialias": True}
    written = export(
        subnet,
        out,
        formats,
        example=None if inputs else _example(supernet, subnet, arch),
        arch=arch,
        source=load_source(origin),
        card=card,
        preprocessing=preprocessing or None,
        calibration=inputs,
        validation=labelled,
    )
    if data is not None:
        data.save_preprocessing(out)
    elif vocabulary_file(str(origin)) is not None:
        tokenizer = load_tokenizer(str(origin))
        fit_tokenizer(tokenizer, subnet)
        save_tokenizer(tokenizer, out, longest_text(subnet))
    return written
