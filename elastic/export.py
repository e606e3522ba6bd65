"""Export: an extracted subnet as files that other programs run, each checked against PyTorch's output.

The folder holds `config.json` (what the subnet is, and its figures), `README.md` (the same for people), and the
files of each format (`elastic.formats`). With the weights comes `load.py`, which loads them where this project is not
installed (see `elastic.standalone`), if the subnet differs from what its library builds in sizes only.
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
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from elastic.arch import Arch
from elastic.building import SupernetSource
from elastic.card import Card, write_card
from elastic.errors import CheckpointError, ExportError
from elastic.evaluation import Batch
from elastic.example import example_batch, first_singles, input_size, joined
from elastic.file_latency import measure_latency
from elastic.files import read_json, remove_with, staged, write_json
from elastic.formats import FORMATS, Original
from elastic.formats.kept import kept_files, own_files
from elastic.formats.writing import check_formats, write_format
from elastic.inputs import Inputs, first, predict
from elastic.measure import Setting
from elastic.native import native_code, native_fields
from elastic.sizes import Number
from elastic.standalone import describe_sizes, write_loader
from elastic.storage import load_weights

_KIND = "elastic subnet"
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: where.
        files: name → what is known of it, such as the difference from PyTorch's output.
        figures: the subnet's parameters and MACs, and those that the caller gave.
        latency: what `elastic.file_latency` measured; empty where it wasn't asked to.
    """

    folder: Path
    files: dict[str, dict[str, Any]]
    figures: dict[str, Any] = field(default_factory=dict)
    latency: dict[str, Any] = field(default_factory=dict)


def export(
    subnet: nn.Module,
    folder: str | Path,
    formats: Sequence[str] = ("safetensors",),
    example: Inputs | None = None,
    arch: Mapping[str, Number] | None = None,
    source: SupernetSource | None = None,
    card: Card | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    *,
    calibration: Iterable[Inputs] = (),
    validation: Iterable[Batch] = (),
    latency: bool = False,
    threads: int = 1,
) -> Exported:
    """Write an extracted subnet into `folder`; where anything fails, the folder's former content is whole.

    The files of a former export stay if it was of the same weights and input size; else they are removed with it.

    Args:
        subnet: what `supernet.extract` gave; it is left as it was.
        folder: made where it is missing.
        formats: of `elastic.formats.FORMATS`: `"safetensors"`, `"onnx"`, `"openvino"`, `"executorch"`,
            `"torch.export"`; in int8 `"onnx-int8"` and `"openvino-int8"`.
        example: inputs `(N, C, H, W)`, N ≥ 2, or text by name; by default the first of `calibration`, or random ones of
            the model's own input size.
        arch: which subnet it is; with `source`, `load_subnet` can load the folder.
        source: what its supernet is made from.
        card: title, figures and words for `README.md`; its figures go into `config.json` too.
        preprocessing: how inputs are prepared, such as `{"mean": [...], "std": [...]}`; what the model's
            pretrained configuration says by default.
        calibration: batches of real inputs, of the subnet's input size; int8's ranges are found on the first 300.
        validation: labelled batches that int8's accuracy is measured on, before and after.
        latency: measure each file's latency in its runtime, a few seconds each.
        threads: that each runtime may use meanwhile.

    Raises:
        ExportError: an unknown format, a missing package, no example, nothing to calibrate on, a model that isn't in
            float32 (but for safetensors), or a file that computes something else.
        ProfileError: threads below 1.
        OSError: the disk is full, or may not be written to.
    """
    folder = Path(folder)
    real = first_singles(calibration)
    wanted = check_formats(formats, calibration=bool(real))
    if latency:
        Setting(threads=threads).check()
    model = copy.deepcopy(subnet).cpu().eval()
    _check_precision(model, wanted)
    inputs = example_batch(model, joined(real) if example is None and real else example)
    card, labelled, former = card or Card(), list(validation), _former(folder)
    figures = {**measure_costs(model, first(inputs, 1)), **card.figures}
    with tempfile.TemporaryDirectory() as scratch, staged(folder) as stage:
        original = Original(model, inputs, real, Path(scratch))
        files: dict[str, dict[str, Any]] = {}
        for name in wanted:
            files |= write_format(name, original, stage, labelled)
        kept = kept_files(folder, former, files, input_size(inputs), text=not isinstance(inputs, Tensor))
        known = {**kept, **files}
        places = dict.fromkeys(kept, folder) | dict.fromkeys(files, stage)
        timed = measure_latency(model, inputs, places, threads) if latency else {}
        config: dict[str, Any] = {
            "kind": _KIND,
            "class": f"{type(subnet).__module__}.{type(subnet).__qualname__}",
            "source": None if source is None else source.untrained().to_dict(),
            "arch": None if arch is None else dict(arch),
            "arch_id": None if arch is None else Arch(arch).id,
            "input_size": list(input_size(inputs)),
            "inputs": [] if isinstance(inputs, Tensor) else list(inputs),
            "preprocessing": _preprocessing(subnet, inputs) if preprocessing is None else dict(preprocessing),
            "figures": figures,
            "card": {key: value for key, value in asdict(card).items() if key != "figures"},
            "files": known,
            "latency": timed or (former.get("latency", {}) if kept else {}),
            "loader": [],
            "native": "",
            "torch": torch.__version__,
        }
        if _WEIGHTS in files:
            config |= _write_loaders(model, stage, inputs, _built_with(source), config)
        write_json(stage / _CONFIG, config)
        write_card(stage / "README.md", card, config)
        for file in own_files(former) - {*known, *config["loader"]}:
            remove_with(stage, file)
    return Exported(folder, known, figures, timed)


def load_subnet(folder: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The subnet that `export` wrote with its `arch` and `source`, in eval mode, and its `config.json`.

    Builds the supernet, cuts the arch out and loads the weights strictly.

    Raises:
        CheckpointError: a folder without a subnet, or a truncated, altered or foreign file.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config.get("source") is None or config.get("arch") is None:
        raise CheckpointError(f"{folder / _CONFIG} doesn't say source and arch; export again with source=..., arch=...")
    if _WEIGHTS not in config["files"]:
        raise CheckpointError(f"{folder} holds no {_WEIGHTS}; export again with the format safetensors")
    supernet = SupernetSource.from_dict(config["source"]).build()
    subnet = supernet.extract(config["arch"]).eval()
    load_weights(subnet, folder / _WEIGHTS, config["files"][_WEIGHTS]["sha256"])
    return subnet, config


def read_config(folder: str | Path) -> dict[str, Any]:
    """The `config.json` of an exported folder.

    Raises:
        CheckpointError: there is none, or it is broken.
    """
    path = Path(folder) / _CONFIG
    config = read_json(path, CheckpointError, "an exported subnet (elastic extract writes one)")
    if config.get("kind") != _KIND or "files" not in config:
        raise CheckpointError(f"{path} isn't an exported subnet: its kind is {config.get('kind')!r}, wanted {_KIND!r}")
    return config


def measure_costs(model: nn.Module, inputs: Inputs) -> dict[str, int]:
    """Parameters of `model`, and multiply-accumulates of one forward pass on `inputs`, counted."""
    # the counter knows attention as matrix products, but not the CPU's fused kernel
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        predict(model, inputs)
    params = sum(parameter.numel() for parameter in model.parameters())
    return {"params": params, "macs": counter.get_total_flops() // 2}


def _write_loaders(
    model: nn.Module, stage: Path, inputs: Inputs, built_with: Mapping[str, Any] | None, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Write what loads the weights where this project isn't installed: what `config.json` says of it."""
    sizes = describe_sizes(model, built_with)
    if sizes is None:
        return {}
    loader, fields = write_loader(sizes, model, stage, inputs), native_fields(sizes, model, config)
    write_json(stage / _CONFIG, {**fields, **config})
    return {**fields, **config, "loader": loader, "native": native_code(sizes, stage, model, inputs)}


def _check_precision(model: nn.Module, formats: Sequence[str]) -> None:
    others = {str(p.dtype) for p in model.parameters() if p.is_floating_point()} - {"torch.float32"}
    written = [name for name in formats if FORMATS[name].files[0] != _WEIGHTS]
    if others and written:
        raise ExportError(f"{written[0]} takes a model in float32, this is in {others.pop()}; cast it: model.float()")


def _former(folder: Path) -> dict[str, Any]:
    """The `config.json` of an earlier export into `folder`; empty where there was none."""
    try:
        return read_config(folder)
    except CheckpointError:
        return {}


def _built_with(source: SupernetSource | None) -> Mapping[str, Any] | None:
    """The arguments that timm built the full model with; a supernet of another name has others."""
    return None if source is None else source.untrained().model_args


def _preprocessing(subnet: nn.Module, inputs: Inputs) -> dict[str, Any]:
    config = getattr(subnet, "pretrained_cfg", None) or {}
    if len(config.get("mean", ())) != input_size(inputs)[0]:  # says nothing of images with other channels
        return {}
    return {key: config[key] for key in ("mean", "std", "interpolation", "crop_pct") if key in config}
