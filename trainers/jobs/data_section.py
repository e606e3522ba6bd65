"""The data that a configuration describes: read from a run's folder, which may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elastic.errors import CheckpointError, ElasticError, UsageError, first_line
from trainers.class_paths import TRUST, refuse_foreign_classes
from trainers.configurations import read_configuration
from trainers.near_matches import with_near_matches

if TYPE_CHECKING:
    from trainers.data.supernet_data import SupernetData

_FETCHED = ("hfds/", "hfids/", "tfds/", "wds/")
"""Prefixes of timm's data sets that are fetched, or whose addresses may be commands."""


def load_data(path: str | Path, trust_code: bool = False) -> SupernetData:
    """The data module that a configuration's `data` section describes.

    Args:
        path: a YAML file; a run's `config.yaml`, say.
        trust_code: it may name classes of the user's own, which are imported and called.

    Raises:
        CheckpointError: no such file, or no `data` section that can be understood.
        UsageError: it names a class that isn't this project's, or data from elsewhere, and isn't trusted.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    from trainers.data import digit_scenes, digits, glue, timm_data  # noqa: F401 - so that their classes can be named without a path
    from trainers.data.supernet_data import SupernetData

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path} doesn't exist; pass --data, a folder of images (train/CLASS/*, val/CLASS/*) or a YAML file with "
            "the data section of a training"
        )
    try:
        configuration = read_configuration(path)
        if not isinstance(configuration, dict) or "data" not in configuration:
            raise CheckpointError(f"{path} has no data section; wanted data: {{class_path: …}}, as a training has it")
        section = configuration["data"]
        if not trust_code:
            refuse_foreign_classes({"data": section}, str(path))
            _refuse_fetching(section, path)
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(SupernetData, "data")
        made = parser.instantiate_classes(parser.parse_object({"data": section})).data
    except ArgumentError as error:
        objection = with_near_matches(str(error), ())
        raise CheckpointError(f"{path} has no data section that can be understood: {objection}") from error
    except ElasticError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError, AssertionError, OverflowError, ImportError) as error:
        raise CheckpointError(f"{path} has no data section that can be understood: {first_line(error)}") from error
    if not isinstance(made, SupernetData):
        raise CheckpointError(f"{path}: data is {section!r:.80}; wanted {{class_path: …}}, as a training has it")
    return made


def _refuse_fetching(section: Any, path: Path) -> None:
    """Check that a data section asks for files that are here; what it says of downloading is left out.

    Raises:
        UsageError: it names a data set of a hub, or an address.
    """
    options = section.get("init_args") if isinstance(section, Mapping) else None
    if not isinstance(options, dict):
        return
    options.pop("download", None)
    for key in ("name", "root"):
        value = str(options.get(key) or "")
        if value.startswith(_FETCHED) or "://" in value or value.startswith("pipe:"):
            raise UsageError(f"{path}: data.{key} is {value!r:.80}, which is fetched; if you want that, add {TRUST}")
