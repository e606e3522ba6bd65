"""Export: an extracted subnet as files that other programs run, each checked against PyTorch's output.

The folder holds `config.json` (what the subnet is, and its metrics), `README.md` (the same for people), and the
files of each format (`elastic.formats`). With the weights comes `load.py`, which loads them where this project is not
installed (see `elastic.shipping.loader_script`), if the subnet differs from what its library builds in sizes only.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elastic.costs.counting import MacsCounter, unfused
from elastic.errors import CheckpointError, ExportError
from elastic.formats import FORMATS, Original
from elastic.layers.modules import Elastic
from elastic.shipping.card import ModelCard, write_card
from elastic.shipping.example import example_batch, first_singles, joined, shape_of_one
from elastic.shipping.file_latency import measure_latency
from elastic.shipping.kept import kept_files, own_files
from elastic.shipping.loader_script import describe_sizes, write_loader
from elastic.shipping.native import native_code, native_fields
from elastic.shipping.writing import check_formats, write_format
from elastic.space.arch import Arch
from elastic.space.sizes import Number
from elastic.supernet.evaluation import Batch
from elastic.supernet.places import KIND, SUBNET
from elastic.supernet.source import SupernetSource
from elastic.supernet.subnet_folder import WEIGHTS, read_subnet_config
from elastic.supernet.supernet import Supernet
from elastic.support.files import staged, write_json
from elastic.support.inputs import Inputs, first, predict
from elastic.support.text import names_in
from elastic.timing.backends import check_setting
from elastic.timing.setting import Setting
from elastic.upstream import library_of


@dataclass(frozen=True)
class Exported:
    """Result of an export.

    Attributes:
        folder: the folder that was written.
        files: file name → facts about it, such as the difference from PyTorch's output.
        metrics: the subnet's parameters and MACs, and the metrics in the card.
        latency: latencies from `elastic.shipping.file_latency`; empty if not measured.
        replaced: id of another subnet that the folder held before; empty where it held none, or the same.
        removed: that subnet's files which this one doesn't have.
        loader: the files that load the weights where this project isn't installed.
    """

    folder: Path
    files: dict[str, dict[str, Any]]
    metrics: dict[str, Any] = field(default_factory=dict)
    latency: dict[str, Any] = field(default_factory=dict)
    replaced: str = ""
    removed: Sequence[str] = ()
    loader: Sequence[str] = ()


def export(
    subnet: nn.Module,
    folder: str | Path,
    formats: str | Sequence[str] = ("safetensors",),
    example: Inputs | None = None,
    arch: Mapping[str, Number] | None = None,
    source: SupernetSource | None = None,
    card: ModelCard | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    *,
    calibration: Iterable[Inputs] = (),
    validation: Iterable[Batch] = (),
    latency: bool = False,
    threads: int = 1,
    device: str = "cpu",
) -> Exported:
    """Write an extracted subnet into `folder`, which stays unchanged if anything fails before all is written.

    The files of a former export stay if it was of the same weights and input size; else they are removed with it. Where
    the process is killed while files are replaced, loading refuses the folder (see `elastic.support.files.staged`).

    Args:
        subnet: what `supernet.extract` gave; it is left as it was.
        folder: made where it is missing.
        formats: of `elastic.formats.FORMATS`: `"safetensors"`, `"onnx"`, `"openvino"`, `"executorch"`,
            `"torch.export"`; in int8 `"onnx-int8"` and `"openvino-int8"`. Text may name several, with commas between.
        example: inputs `(N, C, H, W)`, N ≥ 2, or text by name; by default the first of `calibration`, or random ones of
            the model's own input size.
        arch: which subnet it is; with `source`, `load_subnet` can load the folder.
        source: what its supernet is made from.
        card: title, metrics and words for `README.md`; its metrics go into `config.json` too.
        preprocessing: how inputs are prepared, such as `{"mean": [...], "std": [...]}`; what the model's
            pretrained configuration says by default.
        calibration: batches of real inputs, of the subnet's input size; int8's ranges are found on the first 300.
        validation: labelled batches that int8's accuracy is measured on, before and after.
        latency: measure each file's latency in its runtime, a few seconds each.
        threads: that each runtime may use meanwhile.
        device: that PyTorch's accuracy is measured on, which int8's is compared with; files run on the CPU.

    Raises:
        ExportError: a supernet, an unknown format, a missing package, no example, nothing to calibrate on, a model that
            isn't in float32 (but for safetensors), or a file that computes something else.
        ProfileError: threads below 1.
        OSError: the disk is full, or may not be written to.
    """
    _check_extracted(subnet)
    folder = Path(folder)
    real = first_singles(calibration)
    wanted = check_formats(names_in(formats) if isinstance(formats, str) else formats, calibration=bool(real))
    if latency:
        check_setting(Setting(threads=threads))
    model = copy.deepcopy(subnet).cpu().eval()
    _check_precision(model, wanted)
    inputs = example_batch(model, joined(real) if example is None and real else example)
    if preprocessing is None:
        preprocessing = library_of(subnet).preprocessing(channels=shape_of_one(inputs)[0])
    card, labelled, former = card or ModelCard(), list(validation), _former(folder)
    metrics = {**measure_costs(model, first(inputs, 1)), **card.metrics}
    with tempfile.TemporaryDirectory() as scratch, staged(folder) as stage:
        original = Original(model, inputs, real, Path(scratch), device)
        files: dict[str, dict[str, Any]] = {}
        for name in wanted:
            files |= write_format(name, original, stage, labelled)
        kept = kept_files(folder, former, files, shape_of_one(inputs), text=not isinstance(inputs, Tensor))
        known = {**kept, **files}
        places = dict.fromkeys(kept, folder) | dict.fromkeys(files, stage)
        timed = measure_latency(model, inputs, places, threads) if latency else {}
        config = {
            **_origin(subnet, arch, source),
            **_inputs(inputs, preprocessing),
            "metrics": metrics,
            "card": {key: value for key, value in asdict(card).items() if key != "metrics"},
            "files": known,
            "latency": timed or (former.get("latency", {}) if kept else {}),
            "loader": [],
            "native": "",
            "torch": torch.__version__,
        }
        if WEIGHTS in files:
            config |= _write_loaders(model, stage, inputs, _built_with(source), config)
        write_json(stage / SUBNET, config)
        write_card(stage / "README.md", card, config)
    removed = sorted(own_files(former) - {*known, *config["loader"]})
    for file in removed:
        (folder / file).unlink(missing_ok=True)
    replaced = str(former.get("arch_id") or "")
    former_id = "" if replaced == config["arch_id"] else replaced
    return Exported(folder, known, metrics, timed, former_id, removed, config["loader"])


def _origin(subnet: nn.Module, arch: Mapping[str, Number] | None, source: SupernetSource | None) -> dict[str, Any]:
    """What the subnet is, and what it was cut out of."""
    return {
        "kind": KIND,
        "class": f"{type(subnet).__module__}.{type(subnet).__qualname__}",
        "source": None if source is None else source.untrained().to_dict(),
        "arch": None if arch is None else dict(arch),
        "arch_id": None if arch is None else Arch(arch).id,
    }


def _inputs(inputs: Inputs, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """What the subnet takes."""
    return {
        "input_size": list(shape_of_one(inputs)),
        "inputs": [] if isinstance(inputs, Tensor) else list(inputs),
        "preprocessing": dict(preprocessing),
    }


def measure_costs(model: nn.Module, inputs: Inputs) -> dict[str, int]:
    """Parameters of `model`, and multiply-accumulates of one forward pass on `inputs`, counted."""
    # counted, though `Supernet.macs` is exact: models that come from no supernet are exported, too
    with torch.no_grad(), unfused(), MacsCounter() as counter:
        predict(model, inputs)
    params = sum(parameter.numel() for parameter in model.parameters())
    return {"params": params, "macs": counter.macs}


def _write_loaders(
    model: nn.Module, stage: Path, inputs: Inputs, built_with: Mapping[str, Any] | None, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Write what loads the weights where this project isn't installed: what `config.json` says of it."""
    sizes = describe_sizes(model, built_with)
    if sizes is None:
        return {}
    loader, fields = write_loader(sizes, model, stage, inputs), native_fields(sizes, model, config)
    write_json(stage / SUBNET, {**fields, **config})
    return {**fields, **config, "loader": loader, "native": native_code(sizes, stage, model, inputs)}


def _check_extracted(model: nn.Module) -> None:
    if any(isinstance(module, Supernet | Elastic) for module in model.modules()):
        raise ExportError(
            f"this {type(model).__name__} is elastic, and only an ordinary model can be exported; cut one out first: "
            "supernet.extract(arch)"
        )


def _check_precision(model: nn.Module, formats: Sequence[str]) -> None:
    others = {str(p.dtype) for p in model.parameters() if p.is_floating_point()} - {"torch.float32"}
    written = [name for name in formats if FORMATS[name].files[0] != WEIGHTS]
    if others and written:
        raise ExportError(f"{written[0]} takes a model in float32, this is in {others.pop()}; cast it: model.float()")


def _former(folder: Path) -> dict[str, Any]:
    """The `config.json` of an earlier export into `folder`; empty where there was none."""
    try:
        return read_subnet_config(folder)
    except CheckpointError:
        return {}


def _built_with(source: SupernetSource | None) -> Mapping[str, Any] | None:
    """The arguments that the library built the full model with, as far as the source says."""
    return None if source is None else source.untrained().model_args
