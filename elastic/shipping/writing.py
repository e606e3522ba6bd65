"""Writing files in the requested formats, each compared with PyTorch's output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from elastic.errors import ExportError
from elastic.formats import FORMATS, Format, Original
from elastic.formats.compare import TOLERANCE, Forward, compare, measure_difference, one_by_one
from elastic.shipping.int8_cost import judge
from elastic.supernet.evaluation import Batch
from elastic.support.files import sha256
from elastic.support.text import did_you_mean


def check_formats(names: Sequence[str], calibration: bool) -> list[str]:
    """The formats without duplicates, after checking that all of them can be written.

    Args:
        names: of the formats.
        calibration: whether there are inputs to find int8's ranges on.

    Raises:
        PackageError: a format's package is missing.
        ExportError: an unknown format, or int8 without inputs.
    """
    for name in names:
        if name not in FORMATS:
            cure = did_you_mean(name, list(FORMATS), f"choose of {', '.join(FORMATS)}")
            raise ExportError(f"no format {name!r}; {cure}")
    for name in names:
        FORMATS[name].require()
        if FORMATS[name].quantized and not calibration:
            raise ExportError(
                f"{name} needs real inputs to find int8's ranges on; pass calibration=, or --data on the command line: "
                "a folder of images (train/CLASS/*, val/CLASS/*), or a YAML file with a data section, such as a "
                "training's config.yaml"
            )
    return list(dict.fromkeys(names))


def needs_inputs(names: Sequence[str]) -> bool:
    """Whether one of these formats needs real inputs, to find int8's ranges on."""
    return any(FORMATS[name].quantized for name in names if name in FORMATS)


def write_format(name: str, original: Original, folder: Path, validation: Iterable[Batch]) -> dict[str, dict[str, Any]]:
    """Write one format's files into `folder`; returns file name → facts about it.

    Raises:
        ExportError: the format can't express the model, or the file computes something else.
        OSError: the disk is full, or may not be written to.
    """
    made = FORMATS[name]
    path = folder / made.files[0]
    made.write(original, path)
    facts: dict[str, dict[str, Any]] = {file: _described(name, folder / file) for file in made.files}
    if made.open is not None:
        facts[path.name] |= {"runtime": made.runs_on, "batch": "any" if made.free else 1}
        facts[path.name] |= _checked(made, made.open(path, None), original, path, validation)
    return facts


def _described(name: str, path: Path) -> dict[str, Any]:
    return {"format": name, "bytes": path.stat().st_size, "sha256": sha256(path)}


def _checked(
    made: Format, forward: Forward, original: Original, path: Path, validation: Iterable[Batch]
) -> dict[str, Any]:
    if not made.quantized:
        difference = compare(original.model, forward, original.inputs, path, made.free)
        return {"difference": asdict(difference), "tolerance": TOLERANCE}
    difference = measure_difference(original.model, forward, original.inputs, made.free)
    runs = forward if made.free else one_by_one(forward)
    judged = judge(original.model, runs, validation, original.calibration, original.device)
    return {"difference": asdict(difference), "calibrated_on": len(original.calibration), **judged}
