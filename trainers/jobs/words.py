"""Words that commands have in common, checked before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elastic.errors import ArchError, CheckpointError, ExportError, UsageError
from elastic.searching.limits import parse_limits
from elastic.supernet.places import SUBNET, SUPERNET, check_place
from elastic.supernet.registry import is_place, named_supernet, supernet_names
from elastic.support.reading import read_json
from elastic.support.text import did_you_mean, names_in, nearest, pairs_in

FORMATS = ("safetensors", "onnx", "onnx-int8", "openvino", "openvino-int8", "executorch", "torch.export")
"""The names in `elastic.formats.FORMATS`, whose modules import PyTorch."""
DEVICES = ("cpu", "cuda", "mps")
ARCHS = ("smallest", "largest")


def check_words(given: Mapping[str, Any]) -> None:
    """Check formats, device, budget, folder, files and arch of a command line, as far as words can be wrong.

    Args:
        given: a command's options and arguments, by name; those that it doesn't have are left out.

    Raises:
        ExportError: there is no such format.
        UsageError: nor such a device, or a count below 1.
        BudgetError: a budget that can't be read.
        CheckpointError: a folder that isn't there, or holds something else; or data or a result that isn't there.
        ArchError: a misspelt arch, or a file that isn't there.
    """
    for name in names_in(given.get("formats") or ""):
        if name not in FORMATS:
            cure = did_you_mean(name, FORMATS, f"choose of {', '.join(FORMATS)}")
            raise ExportError(f"no format {name!r}; {cure}")
    device = given.get("device")
    kind, colon, number = (device or DEVICES[0]).partition(":")
    if kind not in DEVICES or (colon and not number.isdecimal()):
        raise UsageError(f"--device {device}: PyTorch can't compute on that here; choose one of {', '.join(DEVICES)}")
    for option in ("images", "threads"):
        if given.get(option, 1) < 1:
            raise UsageError(f"--{option} {given[option]}: wanted 1 or more")
    parse_limits(given.get("budget") or "")
    _check_places(given)
    check_given(given.get("data"))
    if given.get("result") is not None:
        read_json(given["result"], CheckpointError, "a search result (elastic search writes one)")
    if given.get("arch") is not None:
        check_arch(given["arch"])


def _check_places(given: Mapping[str, Any]) -> None:
    if "supernet" in given:
        _check_supernet(given["supernet"])
    if "model" in given and is_place(given["model"]):
        _check_supernet(given["model"])
    if "folder" in given:
        check_place(given["folder"], SUBNET)


def _check_supernet(place: str) -> None:
    """An exported subnet's folder is taken for a supernet of one."""
    if named_supernet(place) is None and not (place and (Path(place) / SUBNET).is_file()):
        check_place(place, SUPERNET, supernet_names)


def check_arch(arch: str) -> dict[str, Any] | None:
    """Read an arch's file, where it is one; None for words and JSON.

    Raises:
        ArchError: neither a word, nor JSON, nor such a file.
    """
    if arch in ARCHS or arch.lstrip().startswith("{") or (not Path(arch).exists() and pairs_in(arch)):
        return None
    near = [] if Path(arch).exists() else nearest(arch, ARCHS)
    if near:
        raise ArchError(f"there is no arch {arch!r}; did you mean {near[0]}?")
    return read_json(arch, ArchError, "an arch: smallest, largest, JSON, or a file with it")


def check_data(place: str, given: str | None) -> None:
    """Check that there is data, before weights are loaded.

    Args:
        place: as for `open_trained`.
        given: as for `Trained.data`.

    Raises:
        CheckpointError: no such file or folder.
        UsageError: a named supernet, which has no data of its own, and none is given.
    """
    check_given(given)
    if given is None and named_supernet(place) is not None:
        raise without_data(place)


def check_given(data: str | None) -> None:
    """Check that what `--data` names is there.

    Raises:
        CheckpointError: it isn't.
    """
    if data is not None and not Path(data).exists():
        raise CheckpointError(
            f"--data {data} doesn't exist; give a folder of images (train/CLASS/*, val/CLASS/*), or a YAML file with "
            "the data section of a training"
        )


def without_data(name: str) -> UsageError:
    """The error where data is needed, and a named supernet has none."""
    return UsageError(
        f"{name} is a named supernet, which has no data of its own; give some, a folder of images (train/CLASS/*, "
        "val/CLASS/*) or a YAML file with the data section of a training, such as --data my_images"
    )
