"""The named supernets: listing, building with fresh or pretrained weights, importing published files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from elastic.errors import RecipeError
from elastic.supernet.registry import register_supernets
from elastic.support.text import did_you_mean
from zoo.catalog_data import ENTRIES
from zoo.entry import ZooEntry

if TYPE_CHECKING:
    from elastic import Supernet
    from elastic.supernet.source import SupernetSource

_BY_NAME = {entry.name: entry for entry in ENTRIES}
register_supernets(_BY_NAME)


def list_supernets() -> list[str]:
    """The names that `create` knows."""
    return sorted(_BY_NAME)


def find(name: str) -> ZooEntry:
    """The entry of that name.

    Raises:
        RecipeError: there is none.
    """
    if name not in _BY_NAME:
        cure = did_you_mean(name, list(_BY_NAME), f"it has {', '.join(list_supernets())}")
        raise RecipeError(f"the zoo has no supernet {name!r}; {cure}")
    return _BY_NAME[name]


def vocabulary_file(name: str) -> Path | None:
    """The file of the pieces that a named supernet's tokenizer knows; None where the zoo has none of that name."""
    entry = _BY_NAME.get(name)
    return None if entry is None else entry.vocabulary_file


def source_of(name: str, **options: Any) -> SupernetSource:
    """The source of a named supernet, for `elastic.supernet.folder.save_supernet` and `elastic.export`.

    Args:
        name: one of `zoo.list()`.
        options: as for `create`.

    Raises:
        RecipeError: no supernet of this name.
    """
    from elastic.supernet.source import SupernetSource

    size = options.pop("input_size", None)
    return SupernetSource(find(name).name, model_args=options, input_size=None if size is None else list(size))


def create(name: str, **options: Any) -> Supernet:
    """A named supernet with fresh weights, its largest subnet active.

        zoo.create("ofa_resnet50", num_classes=10, resolutions=[128, 160, 192])

    Args:
        name: one of `zoo.list()`.
        options: `num_classes`; `resolutions`, sides of the square input in pixels; `input_size`, the (channels,
            height, width) of the full-size input; `drop_rate` in front of the classifier, in training.

    Raises:
        RecipeError: no supernet of this name, or an option that it doesn't have.
    """
    return source_of(name, **options).build()


def load(name: str, pretrained: bool = True, **options: Any) -> Supernet:
    """A named supernet in evaluation mode, with pretrained weights: those in the package, or the published ones.

    Published weights are downloaded once, into `$ELASTIC_CACHE` or PyTorch's cache. Where `num_classes` is another
    number than theirs, the classifier is fresh.

    Args:
        name: one of `zoo.list()`.
        pretrained: False leaves the weights fresh.
        options: as for `create`.

    Raises:
        RecipeError: no supernet of this name, or an option that it doesn't have.
        CheckpointError: it has no pretrained weights, or they can't be had, or don't fit; the message has the cure.
    """
    return source_of(name, pretrained=pretrained, **options).build().eval()


def import_checkpoint(name: str, path: str | Path, **options: Any) -> Supernet:
    """A supernet of Once-for-All's or ProARD's code, in evaluation mode: every subnet computes what it did there.

        zoo.import_checkpoint("ofa_mbv3_d234_e346_k357_w1.0", "~/.torch/ofa_nets/ofa_mbv3_d234_e346_k357_w1.0")

    Args:
        name: one of `zoo.list()`.
        path: the file of that supernet, `{"state_dict": ...}`, published or written by that code; names of before
            2020 (`.mobile_inverted_conv.`) are fine. Nothing in it is executed.
        options: as for `create`.

    Raises:
        RecipeError: no supernet of this name, or an option that it doesn't have.
        CheckpointError: a file that is missing, truncated or foreign, or a key in it that is missing, unknown or
            misshapen; the message names it.
    """
    from zoo.published.load import load_reference, read_state_dict

    tensors = read_state_dict(path)
    supernet = create(name, **options)
    load_reference(supernet.model, tensors, str(path), elastic=True)
    return supernet.eval()
