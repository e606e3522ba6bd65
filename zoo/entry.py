"""An entry of the zoo: builder, weights and card of a named supernet."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.resources import files
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from elastic.errors import CheckpointError, RecipeError
from elastic.support.files import sha256
from zoo.networks.preprocessing import IMAGENET, Preprocessing, describe_images, offered

if TYPE_CHECKING:
    from torch import nn

    from elastic import Recipe, Supernet

_CLASSIFIERS = ("classifier", "fc", "head.fc")


@dataclass(frozen=True)
class Weights:
    """Pretrained weights: a safetensors file that comes with the package, or one of Once-for-All's published files.

    Attributes:
        place: the file's name in `zoo/weights`, or its address.
        sha256: the file's, as hexadecimal digits; None: not known, so that only keys and shapes are checked.
        size: in bytes; None: not known.
    """

    place: str
    sha256: str | None = None
    size: int | None = None

    @property
    def shipped(self) -> bool:
        """Whether the weights come with the package."""
        return "://" not in self.place

    def load(self, model: nn.Module, name: str, kept: list[str]) -> None:
        """Fill `model`, elastic already, strictly; tensors that are named in `kept` stay as they are.

        Raises:
            CheckpointError: the file can't be had, is another one, or doesn't fit.
        """
        from safetensors.torch import load_file

        from elastic.support.weights import check_tensors
        from zoo.download import download
        from zoo.published.load import load_reference, read_state_dict

        if not self.shipped:
            path = download(self.place, name, self.sha256, self.size)
            load_reference(model, read_state_dict(path), str(path), elastic=True, kept=kept)
            return
        path = _weights_folder() / self.place
        if not path.is_file() or self.sha256 not in (None, sha256(path)):
            raise CheckpointError(f"{path} is missing or was altered; install the package again")
        own = model.state_dict()
        tensors = load_file(path) | {key: own[key] for key in kept}
        check_tensors(model, tensors, str(path))
        model.load_state_dict(tensors)


@dataclass(frozen=True)
class Builder:
    """A function that builds a named supernet's network; it is imported once something is built.

    Attributes:
        place: `module:function`.
        fixed: its first arguments.
        defaults: of others.
    """

    place: str
    fixed: tuple[Any, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def function(self) -> Callable[..., tuple[nn.Module, Recipe]]:
        """The plain model and its recipe, from keyword arguments."""
        return partial(resolve_name(self.place), *self.fixed, **self.defaults)

    @property
    def options(self) -> dict[str, Any]:
        """The function's options with their defaults."""
        return {name: one.default for name, one in inspect.signature(self.function).parameters.items()}


@dataclass(frozen=True)
class Sizes:
    """Costs of the subnets, as `Supernet.params` and `Supernet.macs` count them.

    Attributes:
        params: of the smallest subnet and of the largest one.
        macs: of the smallest subnet at the smallest resolution, and of the largest one at the full one.
        subnets: number of distinct networks, not counting resolutions.
    """

    params: tuple[int, int]
    macs: tuple[int, int]
    subnets: int


@dataclass(frozen=True)
class CardLine:
    """One line of a card: a metric of one network.

    Attributes:
        subject: the network and the data or device.
        value: with its unit.
        origin: `published` by those who made it, or `measured` here, and where it is written.
    """

    subject: str
    value: str
    origin: str


@dataclass(frozen=True)
class ZooEntry:
    """A named supernet, as `elastic.supernet.registry` wants it, and its card.

    Attributes:
        name: what it is asked for by.
        builder: makes the plain model and its recipe.
        family: what kind of network it is.
        sizes: what its subnets cost.
        license: of code and weights.
        paper: where it is from.
        source: where its weights and results are from.
        configs: names of the shipped configurations that train it together, in the order of the command line.
        weights: pretrained ones, where there are any.
        images: how they are prepared; None: the network reads text.
        vocabulary: of a network that reads text, the file of its BERT tokenizer's pieces in `zoo/weights`.
        adversary: options of the adversary that the weights were trained under (see `trainers.Adversary`); None: none.
        made_up: a file in `zoo/weights` of made-up images, for BatchNorm statistics where there are no real ones.
        results: what is known of its subnets' accuracy.
        notes: what else one has to know, in Markdown.
    """

    name: str
    builder: Builder
    family: str
    sizes: Sizes
    license: str
    paper: str
    source: str
    configs: tuple[str, ...]
    weights: Weights | None = None
    images: Preprocessing | None = IMAGENET
    vocabulary: str | None = None
    adversary: Mapping[str, Any] | None = None
    made_up: str | None = None
    results: tuple[CardLine, ...] = ()
    notes: str = ""

    def build(self, drop_rate: float = 0.0, **options: Any) -> tuple[nn.Module, Recipe]:
        """The plain model with fresh weights, and what makes it elastic.

        Args:
            drop_rate: of the dropout in front of the classifier, in training; Once-for-All's is 0.1.
            options: the builder's.

        Raises:
            RecipeError: an option that the builder doesn't have.
        """
        known = list(self.builder.options)
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise RecipeError(
                f"the supernet {self.name} has no option {unknown[0]!r}; it has drop_rate, {', '.join(known)}"
            )
        model, recipe = self.builder.function(**options)
        _set_dropout(model, drop_rate)
        if self.images is not None:
            describe_images(model, recipe.input_size, self.name, self.images)
        return model, recipe

    @property
    def resolutions(self) -> list[int]:
        """Sides of the square input, in pixels, that are on offer by default; none where the network reads text."""
        if self.images is None:
            return []
        options = self.builder.options
        return offered(options["resolutions"], options["input_size"])

    @property
    def training(self) -> str:
        """The command that trains it."""
        return " ".join(["elastic fit", *(f"--config {name}" for name in self.configs)])

    @property
    def vocabulary_file(self) -> Path | None:
        """The pieces that the tokenizer of a network for text knows, a line each."""
        return None if self.vocabulary is None else _weights_folder() / self.vocabulary

    @property
    def made_up_file(self) -> Path | None:
        """Made-up images (see `zoo.calibration`)."""
        return None if self.made_up is None else _weights_folder() / self.made_up

    def load(self, supernet: Supernet) -> None:
        """Fill in the pretrained weights; a classifier for other classes than theirs keeps its fresh ones.

        Raises:
            CheckpointError: there are none, they can't be had, or they don't fit.
        """
        if self.weights is None:
            raise CheckpointError(
                f"{self.name} has no pretrained weights; train them with {self.training}, or leave pretrained out"
            )
        from elastic.upstream import library_of

        model = supernet.model
        theirs = self.builder.options["num_classes"]
        kept = [] if library_of(model).classes == theirs else [*_classifier(model)]
        self.weights.load(model, self.name, kept)


def _weights_folder() -> Path:
    return Path(str(files("zoo"))) / "weights"


def _set_dropout(model: nn.Module, rate: float) -> None:
    """In front of the classifier: in timm's heads, read by timm's models, or as transformers' classifiers call it."""
    from timm.layers import ClassifierHead
    from torch import nn

    head = getattr(model, "head", None)
    if isinstance(head, ClassifierHead):
        head.drop.p = rate
    elif hasattr(model, "drop_rate"):
        model.drop_rate = rate  # type: ignore[assignment] # read in each forward pass
    else:
        model.dropout = nn.Dropout(rate)


def _classifier(model: nn.Module) -> list[str]:
    return [key for key in model.state_dict() if key.rpartition(".")[0] in _CLASSIFIERS]
