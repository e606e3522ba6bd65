"""An extracted subnet as files, with all that belongs to it: card, preprocessing, tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import get_console
from torch import Tensor, nn

from elastic.reporting.tables import export_table
from elastic.shipping.card import Card
from elastic.shipping.export import Exported, export
from elastic.shipping.writing import needs_inputs
from elastic.space.arch import Arch
from elastic.supernet.evaluation import Batch, resized
from elastic.supernet.folder import is_name, load_source
from elastic.supernet.registry import find_supernet
from elastic.supernet.supernet import Supernet
from elastic.support.inputs import Inputs
from elastic.support.text import names_in
from elastic.upstream import library_of
from trainers.data.text import fit_tokenizer, load_tokenizer, save_tokenizer
from trainers.judging import VALIDATION_IMAGES, name_of, samples
from zoo.catalog import vocabulary_file

if TYPE_CHECKING:
    from trainers.data.supernet_data import SupernetData


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
        return supernet.example_inputs(arch, 4, seed=0)
    return library_of(subnet).example_text(*supernet.input_shape(arch))


def _preprocessing(subnet: nn.Module, origin: str | Path, data: SupernetData | None) -> dict[str, Any]:
    """What the data says; of a named text model, which tokenizer."""
    if data is not None:
        return data.preprocessing
    if vocabulary_file(str(origin)) is None:
        return {}
    return {"tokenizer": str(origin), "max_length": library_of(subnet).longest_text}


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
    """Export an extracted subnet so that `elastic.shipping.loading.load_subnet` can load it.

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
        save_tokenizer(tokenizer, out, library_of(subnet).longest_text)
    return written
