"""An extracted subnet as files, with all that belongs to it: card, preprocessing, tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from elastic.reporting.tables import export_table
from elastic.shipping.card import ModelCard
from elastic.shipping.example import made_up_batch
from elastic.shipping.export import Exported, export
from elastic.shipping.writing import needs_inputs
from elastic.space.arch import Arch
from elastic.supernet.evaluation import Batch, resized
from elastic.support.console import show
from elastic.support.inputs import Inputs
from elastic.support.progress import waiting
from elastic.support.text import names_in
from elastic.upstream import library_of
from trainers.data.text import fit_tokenizer, load_tokenizer, save_tokenizer
from trainers.jobs.calibration import VALIDATION_IMAGES, samples
from trainers.jobs.judge import name_of
from trainers.jobs.trained import Trained

if TYPE_CHECKING:
    from trainers.data.supernet_data import SupernetData


def write_subnet(
    trained: Trained,
    subnet: nn.Module,
    arch: Arch,
    metrics: Mapping[str, Any],
    out: str,
    formats: str,
    data: SupernetData | None,
    made_up: Sequence[Tensor] = (),
) -> None:
    """Export an extracted subnet with a card, and show its files.

    Args:
        trained: what it was cut out of.
        subnet: the model.
        arch: which subnet it is.
        metrics: what was measured of it.
        out: the folder to write.
        formats: separated by commas.
        data: what it was judged on, where there is any.
        made_up: inputs at full resolution to check the files on, where there is no data.
    """
    card = ModelCard(
        f"Subnet {arch.id} of {Path(trained.place).name}",
        dict(metrics),
        data="" if data is None else name_of(data),
        license=trained.license,
        classes=trained.classes,
    )
    wanted = ["safetensors", *names_in(formats)]
    if data is not None and needs_inputs(wanted):
        inputs, labelled = samples(trained.supernet, arch, data, VALIDATION_IMAGES)
    else:
        inputs, labelled = resized(trained.supernet, arch, made_up), []
    written = export_prepared(trained, subnet, arch, out, wanted, card, data, inputs, labelled)
    show(export_table(written))
    if written.replaced:
        removed = f"; removed: {', '.join(written.removed)}" if written.removed else ""
        show(f"{out} held subnet {written.replaced}, which this one replaced{removed}")


def export_prepared(
    trained: Trained,
    subnet: nn.Module,
    arch: Arch,
    out: str | Path,
    formats: list[str],
    card: ModelCard,
    data: SupernetData | None = None,
    inputs: Sequence[Inputs] = (),
    labelled: Sequence[Batch] = (),
) -> Exported:
    """Export an extracted subnet so that `elastic.shipping.loading.load_subnet` can load it.

    Files are checked on `inputs`, and int8 is calibrated on them; on made-up ones where there are none.
    """
    subnet = subnet.cpu()  # files are written, read back and compared there
    shape, text = trained.supernet.input_shape(arch), trained.supernet.recipe.vocabulary is not None
    preprocessing = _input_preparation(trained, subnet, data)
    if preprocessing and list(preprocessing.get("input_size", shape)) != list(shape):  # see `Supernet.resize`
        preprocessing["then_resized_to"] = {"size": list(shape[1:]), "interpolation": "bilinear", "antialias": True}
    with waiting(f"writing {', '.join(dict.fromkeys(formats))}"):
        written = export(
            subnet,
            out,
            formats,
            example=None if inputs else made_up_batch(subnet, shape, text),
            arch=arch,
            source=trained.source,
            card=card,
            preprocessing=preprocessing or None,
            calibration=inputs,
            validation=labelled,
        )
    if data is not None:
        data.save_preprocessing(out)
    elif trained.tokenizer:
        tokenizer = load_tokenizer(trained.tokenizer)
        fit_tokenizer(tokenizer, subnet)
        save_tokenizer(tokenizer, out, library_of(subnet).longest_text)
    return written


def _input_preparation(trained: Trained, subnet: nn.Module, data: SupernetData | None) -> dict[str, Any]:
    """Preprocessing of the data; for published weights for text, the tokenizer."""
    if data is not None:
        return data.preprocessing
    if not trained.tokenizer:
        return {}
    return {"tokenizer": trained.tokenizer, "max_length": library_of(subnet).longest_text}
