"""`elastic fit FOLDER --model NAME …`: the short form for a folder of images, written out as the long one.

The folder says how many classes there are, whether images are grey, and which split is for validation; the model says
which input it wants. What the short form can't say is said with the long options, behind it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from elastic.errors import RecipeError, UsageError
from elastic.supernet.places import IMAGES
from elastic.support.text import nearest
from trainers.configurations import find_configuration, shipped_configurations
from trainers.resuming import refuse_former_run

SHORT = {
    "--model": "a model of timm (the default is mobilenetv3_large_100)",
    "--epochs": "how often each image is seen (100)",
    "--lr": "the learning rate for 256 images a step (0.1)",
    "--size": "side of the square input in pixels (the model's own)",
    "--batch_size": "images per step (64, or all where there are fewer)",
    "--workers": "processes that prepare images (4)",
    "--method": "a shipped configuration: sandwich, progressive_shrinking, … (sandwich)",
    "--pretrained": "true begins with published weights",
}
"""The options of the short form, and what they are."""

_BATCH = 64
"""Images per step, as in the shipped `folder.yaml`."""
_HELD = 0.1
"""Share of the training images that is held out, by default, where there is no validation split."""
_VALIDATION = ("validation", "val", "valid", "test")
"""Names of the folder of validation images, as they are looked for."""


@dataclass(frozen=True)
class ImageFolderFacts:
    """Facts about a folder of images.

    Attributes:
        classes: the number of class folders.
        channels: 1 where the images are grey, else 3.
        validation: the name of the validation split; None where a part of the training images is to be held out.
        images: the number of training images without that part; of many, those that were counted.
    """

    classes: int
    channels: int
    validation: str | None
    images: int


def expand(words: Sequence[str]) -> list[str]:
    """The long form of `fit FOLDER …`; other words as they are.

    Args:
        words: a command line, from `fit` on.

    Raises:
        UsageError: no such folder, no classes or images in it, or an option without a value.
    """
    if len(words) < 2 or words[0] != "fit" or words[1].startswith("-"):
        return list(words)
    folder = Path(words[1])
    short, rest = _split(words[2:])
    curriculum, numbers = _curriculum(short), _numbers(short)
    facts = look_into(folder, numbers.get("--batch_size", _BATCH))
    if not {"--config", "-c", "--data.batch_size"} & {word.partition("=")[0] for word in rest}:
        numbers["--batch_size"] = _batch_size(folder, facts.images, numbers.get("--batch_size"))
    method = ["--config", find_configuration(short["--method"])] if "--method" in short else []
    named = [] if {"--name"} & {word.partition("=")[0] for word in rest} else ["--name", folder.resolve().name]
    refuse_former_run(["fit", *named, *rest])  # before PyTorch is imported
    written = json.dumps(_configuration(folder, facts, short, numbers, curriculum))
    return ["fit", "--config", "folder", *method, "--config", written, *named, *rest]


def _split(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The short options with their values, and the other words."""
    short: dict[str, str] = {}
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        name, equals, value = word.partition("=")
        if name not in SHORT:
            _refuse_near_option(name)
            rest.append(word)
            continue
        found = value if equals else next(waiting, None)
        if found is None or (not equals and found.startswith("--")):
            raise UsageError(f"{name} needs a value: {SHORT[name]}")
        short[name] = found
    return short, rest


def _refuse_near_option(name: str) -> None:
    """Refuse `--epoch`, whose nearest options are otherwise sought among those of the long form.

    Raises:
        UsageError: it begins like one of the short options, or one begins like it.
    """
    if name.startswith("--") and "." not in name:
        near = [option for option in SHORT if option.startswith(name) or name.startswith(option)]
        if near and name not in SHORT:
            raise UsageError(f"no option {name}; did you mean {nearest(name, near)[0]}?")


def _numbers(short: dict[str, str]) -> dict[str, int]:
    """The short options that are whole numbers, and their least values."""
    least = {"--size": 1, "--batch_size": 1, "--workers": 0}
    return {name: _number(name, short[name], int, least[name]) for name in least if name in short}


def _batch_size(folder: Path, images: int, given: int | None) -> int:
    """The batch size: the usual one, or as many images as there are.

    Raises:
        UsageError: more than the training images are given.
    """
    if given is not None and given > images:
        raise UsageError(f"{folder} has {images} training images, which don't fill a batch; lower --batch_size {given}")
    if given is None and images < _BATCH:
        from elastic.support.console import show

        show(f"{folder} has {images} training images: all are in one batch; --batch_size takes fewer")
    return min(given or _BATCH, images)


def look_into(folder: Path, batch: int = _BATCH) -> ImageFolderFacts:
    """Read off a folder what a training needs to know of it.

    Args:
        folder: FOLDER/train/CLASS/* with FOLDER/validation/CLASS/* (or val, valid, test); or FOLDER/CLASS/* alone.
        batch: training images are counted until there are surely so many.

    Raises:
        UsageError: there is no such folder, it has fewer than two classes, or a class without images.
    """
    if not folder.is_dir() and str(folder) in shipped_configurations():
        raise UsageError(f"there is no folder {folder}; did you mean elastic fit --config {folder}?")
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give one of images: {folder}/train/CLASS/*.jpg, or CLASS/*.jpg")
    root = folder / "train" if (folder / "train").is_dir() else folder
    splits = {place.name for place in folder.iterdir() if place.is_dir()}
    validation = next((name for name in _VALIDATION if root != folder and name in splits), None)
    classes = sorted(place for place in root.iterdir() if place.is_dir() and not place.name.startswith("."))
    if len(classes) < 2:
        raise UsageError(f"{root} has {len(classes)} class folders; wanted two or more: {root}/CLASS/*.jpg")
    channels = _channels([_an_image(place) for place in classes])
    files = (path for place in classes for path in place.rglob("*") if path.suffix.lower() in IMAGES)
    images = sum(1 for _ in islice(files, 2 * batch))
    return ImageFolderFacts(len(classes), channels, validation, images - (0 if validation else round(images * _HELD)))


def _an_image(folder: Path) -> Path:
    found = next((path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGES), None)
    if found is None:
        raise UsageError(f"there is no image in {folder}; wanted files that end in {', '.join(sorted(IMAGES))}")
    return found


def _channels(images: Sequence[Path]) -> int:
    """1 if all of these images are grey."""
    return 1 if set(map(_mode, images)) <= {"1", "L", "LA", "I", "I;16", "F"} else 3


def _mode(path: Path) -> str:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return str(image.mode)
    except UnidentifiedImageError as error:
        raise UsageError(f"{path} can't be read as an image; remove it, or replace it") from error


def _configuration(
    folder: Path, facts: ImageFolderFacts, short: dict[str, str], numbers: dict[str, int], curriculum: dict[str, Any]
) -> dict[str, Any]:
    """The options that are appended to the shipped `folder.yaml`."""
    from elastic.supernet.registry import find_supernet
    from elastic.upstream.building import PREFIX, configured_input

    model = short.get("--model", "mobilenetv3_large_100")
    try:
        wanted = configured_input(model)
    except RecipeError as error:
        if find_supernet(model) is None and not model.startswith(PREFIX):
            raise
        raise UsageError(
            f"--model {model}: with a folder of images a model of timm is trained; for this one write a YAML file, and "
            "train with elastic fit --config FILE"
        ) from error
    side = numbers.get("--size", wanted.side)
    shape = [facts.channels, side, side]
    grey = facts.channels == 1
    arguments = {"num_classes": facts.classes, **({"in_chans": 1} if grey else {})}
    if "--pretrained" in short:
        arguments["pretrained"] = _truth("--pretrained", short["--pretrained"])
    supernet: dict[str, Any] = {"model": model, "model_args": arguments, "input_size": shape}
    supernet |= {"choices": {}, "options": {}} if "--model" in short or "--size" in short else {}
    data: dict[str, Any] = {
        "root": str(folder),
        "val_split": facts.validation,
        "input_size": shape,
        "mean": [sum(wanted.mean) / 3] if grey else list(wanted.mean),
        "std": [sum(wanted.std) / 3] if grey else list(wanted.std),
    }
    if grey:
        data["train_transform"] = {"interpolation": "bicubic"}  # timm's RandAugment is for coloured images
    data |= {name.removeprefix("--"): numbers[name] for name in ("--batch_size", "--workers") if name in numbers}
    return {"model": {"supernet": supernet, **curriculum}, "data": {"init_args": data}}


def _curriculum(short: dict[str, str]) -> dict[str, Any]:
    """One phase of these epochs and this learning rate; the shipped phases where neither is given."""
    if not {"--epochs", "--lr"} & short.keys():
        return {}
    if short.get("--method", "sandwich") != "sandwich":
        raise UsageError(
            f"--method {short['--method']} brings phases of its own; leave --epochs and --lr out, and scale them "
            "with --model.curriculum.scale 0.1"
        )
    epochs = _number("--epochs", short.get("--epochs", "100"), int)
    rate = _number("--lr", short.get("--lr", "0.1"), float)
    phase = {"name": "sandwich", "epochs": epochs, "learning_rate": rate, "warmup_epochs": min(5.0, epochs / 10)}
    return {"curriculum": {"phases": [phase]}}


def _truth(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise UsageError(f"{name} {text}: wanted true or false; {name} {SHORT[name]}")
    return text.lower() == "true"


def _number(name: str, text: str, kind: type[int] | type[float], least: int = 1) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if value < least if kind is int else value <= 0:
        wanted = f"a whole number, {least} or more" if kind is int else "a number above 0"
        raise UsageError(f"{name} {text}: wanted {wanted}; {name} is {SHORT[name]}")
    return value
