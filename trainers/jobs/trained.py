"""A trained supernet, wherever it is: a run's folder, a supernet's name, or the folder of an exported subnet.

Commands that take a trained supernet begin with `open_trained`, and pass on what it gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from torch import Tensor, nn

from elastic.errors import CheckpointError, UsageError
from elastic.supernet.evaluation import Recalibrate
from elastic.supernet.folder import (
    build_saved,
    digest_supernet,
    load_described,
    load_named,
    read_description,
)
from elastic.supernet.places import SUBNET, SUPERNET
from elastic.supernet.registry import NamedSupernet, find_supernet, named_supernet
from elastic.supernet.source import SupernetSource
from elastic.supernet.subnet_folder import read_subnet_config
from elastic.supernet.supernet import Supernet
from trainers.batchnorm_settings import read_statistics, statistics_of_run
from trainers.jobs.words import check_given, without_data

if TYPE_CHECKING:
    from elastic.shipping.loading import OpenedSubnet
    from trainers.data.supernet_data import SupernetData

_DATA = "config.yaml"
"""In a run's folder: its training's configuration, with a data section."""


@dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """A trained supernet, with its source, license and data.

    Attributes:
        place: folder or name, as the user typed it.
        supernet: with its weights, in evaluation mode; of an exported subnet a supernet of one.
        source: what it is made from, its layout written out.
        recalibrate: re-estimates the BatchNorm statistics of its subnets, as after its training.
        name: of the supernet that its weights are published under; empty where there is none.
        license: of the weights.
        classes: names of the classes that it was trained on, by their numbers; empty where they aren't known.
        trust_code: its data section may name classes of the user's own, which are imported and called.
    """

    place: str
    supernet: Supernet
    source: SupernetSource
    recalibrate: Recalibrate
    name: str = ""
    license: str = ""
    classes: Sequence[str] = ()
    trust_code: bool = False

    def __repr__(self) -> str:
        """One line."""
        return f"Trained({self.place!r}, {self.supernet!r})"

    @cached_property
    def digest(self) -> str:
        """Digest of its dims and shapes (see `elastic.supernet.folder.digest_supernet`)."""
        return digest_supernet(self.supernet)

    @cached_property
    def made_up(self) -> list[Tensor]:
        """Made-up images that come with published weights, for BatchNorm statistics where there are no real ones."""
        if not self.name:
            return []
        from zoo.made_up_inputs import calibration

        return calibration(self.name)

    @property
    def tokenizer(self) -> str:
        """Name of the tokenizer of published weights, for `trainers.data.text.load_tokenizer`; empty without one."""
        if not self.name:
            return ""
        from zoo.catalog import vocabulary_file

        return "" if vocabulary_file(self.name) is None else self.name

    @property
    def is_named(self) -> bool:
        """Whether it is a named supernet itself, rather than a folder with one or a subnet of one."""
        return self.name == self.place

    @property
    def has_data(self) -> bool:
        """Whether its folder describes the data it was trained on."""
        return (Path(self.place) / _DATA).is_file()

    def data(self, given: str | None = None) -> SupernetData:
        """The examples that subnets are judged on, and that BatchNorm statistics are re-estimated on.

        Args:
            given: a folder of images, or a YAML file with a data section; its training's own by default.

        Raises:
            CheckpointError: no such file, no data section in it that can be understood, or images for text.
            UsageError: a named supernet, which has no data of its own, and none is given; or a data section that names
                code which isn't trusted.
        """
        check_given(given)
        if given is None and self.is_named:
            raise without_data(self.place)
        found = self._opened_data(given)
        found.expected_names = self.classes
        return found

    def _opened_data(self, given: str | None) -> SupernetData:
        if given is None or not Path(given).is_dir():
            from trainers.jobs.data_section import load_data

            found = load_data(self._data_file(given), self.trust_code)
            found.check(self.supernet)
            return found
        if self.supernet.recipe.vocabulary is not None:
            raise CheckpointError(
                f"{given} is a folder, as images have it, and this supernet reads text; give a YAML file with the data "
                "section of a training, such as data: {class_path: Glue, init_args: {task: sst2, root: FOLDER, …}}"
            )
        from trainers.data.image_folder import ImageFolder

        return ImageFolder(given, self.supernet)

    def _data_file(self, given: str | None) -> Path:
        return Path(given or Path(self.place) / _DATA)


def open_trained(place: str | Path, device: str = "cpu", trust_code: bool = False) -> Trained:
    """The trained supernet at `place`: every command begins with it.

    Args:
        place: a run's folder, or another with `supernet.json`; a named supernet's name, for its pretrained weights; or
            the folder of an exported subnet.
        device: that the supernet is put on, and subnets are judged on: cpu, cuda, cuda:1, mps.
        trust_code: as for `Trained`.

    Raises:
        CheckpointError: none of these, a broken file, or weights that can't be had.
        UsageError: a device that isn't there.
    """
    check_device(device)
    trained = replace(_open(str(place)), trust_code=trust_code)
    trained.supernet.to(device)
    return trained


def check_device(device: str) -> None:
    """Check that PyTorch can compute on a device.

    Raises:
        UsageError: no device of this name, or one that isn't there.
    """
    kinds = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    there = ", ".join(kind for kind, usable in kinds.items() if usable)
    kind, _, number = device.partition(":")
    exists = kinds.get(kind, False) and (not number or number.isdecimal())
    if not exists or (kind == "cuda" and number and int(number) >= torch.cuda.device_count()):
        raise UsageError(f"--device {device}: PyTorch can't compute on that here; choose one of {there}")


def _open(place: str) -> Trained:
    named = named_supernet(place)
    if named is not None:
        return _named(place, named)
    exported = (Path(place) / SUBNET).is_file() and not (Path(place) / SUPERNET).exists()
    return _exported(place) if exported else _run(place)


def _run(place: str) -> Trained:
    described = read_description(place)
    supernet = load_described(place, described)
    if described.get("finished") is False:
        Console(stderr=True).print(
            f"{place}: its training ended early, or still runs; fit --ckpt_path last continues it",
            style="yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    statistics = described.get("batchnorm")
    return Trained(
        place,
        supernet,
        SupernetSource.from_dict(described["source"]).to_save(supernet),
        statistics_of_run(Path(place) / _DATA) if statistics is None else read_statistics(statistics),
        classes=described["classes"],
    )


def _named(name: str, named: NamedSupernet) -> Trained:
    supernet = load_named(name)
    recalibrate = read_statistics(statistics_of(named))
    return Trained(name, supernet, SupernetSource(name).to_save(supernet), recalibrate, name, named.license)


def statistics_of(named: NamedSupernet) -> dict[str, Any]:
    """Settings of BatchNorm re-estimation for published weights, in the form of `supernet.json`."""
    adversary: Mapping[str, Any] | None = getattr(named, "adversary", None)
    return {} if adversary is None else {"adversary": dict(adversary)}


def of_subnet(opened: OpenedSubnet, place: str) -> Trained:
    """The supernet, with fresh weights, that an exported subnet was cut out of.

    Args:
        opened: what `elastic.shipping.loading.open_subnet` gave.
        place: its folder.
    """
    return _of_export(place, opened.config, opened.supernet, opened.source)


def _exported(place: str) -> Trained:
    config = read_subnet_config(place)
    source = SupernetSource.of_subnet(place, config)
    supernet = build_saved(source, place).eval()
    return _of_export(place, config, supernet, source.to_save(supernet))


def _of_export(place: str, config: Mapping[str, Any], supernet: Supernet, source: SupernetSource) -> Trained:
    published = source.model if find_supernet(source.model) is not None else ""
    card = config.get("card", {})
    licensed, classes = card.get("license", ""), card.get("classes", [])
    return Trained(place, supernet, source, keep_statistics, published, licensed, classes)


def keep_statistics(model: nn.Module, batches: Any) -> None:
    """For `Trained.recalibrate`: an exported subnet's statistics are a part of what was exported."""
