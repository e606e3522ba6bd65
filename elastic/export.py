"""Export: an extracted subnet as files that other programs run, each checked against PyTorch's output.

The folder holds `config.json` (what the subnet is, and its figures), `README.md` (the same for people), and a
file per format: `model.safetensors`, `model.onnx`. With the weights comes `load.py`, which loads them where this
project is not installed (see `elastic.standalone`), if the subnet differs from what its library builds in sizes only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
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
from elastic.inputs import USUAL_LENGTH, Inputs, batch_size, example_text, first, moved, predict, repeated
from elastic.onnx_files import TOLERANCE, compare_onnx, write_onnx
from elastic.sizes import Number
from elastic.standalone import LOADER, SIZES, write_loader
from elastic.storage import load_weights, read_json, save_weights, sha256, staged, write_json

_KIND = "elastic subnet"
_CONFIG, _WEIGHTS, _ONNX = "config.json", "model.safetensors", "model.onnx"
_LATER = {
    "openvino": "export 'onnx', which OpenVINO reads as it is",
    "executorch": "give the extracted model to torch.export, which ExecuTorch's own converter starts from",
}


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: where.
        files: name → what is known of it; for ONNX the difference from PyTorch's output.
        figures: the subnet's parameters and MACs, and those that the caller gave.
    """

    folder: Path
    files: dict[str, dict[str, Any]]
    figures: dict[str, Any] = field(default_factory=dict)


def export(
    subnet: nn.Module,
    folder: str | Path,
    formats: Sequence[str] = ("safetensors",),
    example: Inputs | None = None,
    arch: Mapping[str, Number] | None = None,
    source: SupernetSource | None = None,
    card: Card | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> Exported:
    """Write an extracted subnet into `folder`; where anything fails, the folder's former content is whole.

    The model files of a former export that this one doesn't write are removed in the end: they may be another
    subnet's.

    Args:
        subnet: what `supernet.extract` gave; it is left as it was.
        folder: made where it is missing.
        formats: of `"safetensors"` and `"onnx"`.
        example: inputs `(N, C, H, W)`, N ≥ 2, or text by name; random ones of the model's own input size by default.
        arch: which subnet it is; with `source`, `load_subnet` can load the folder.
        source: what its supernet is made from.
        card: title, figures and words for `README.md`; its figures go into `config.json` too.
        preprocessing: how inputs are prepared, such as `{"mean": [...], "std": [...]}`; what the model's
            pretrained configuration says by default.

    Raises:
        ExportError: an unknown format, a missing package, no example, or a file that computes something else.
        OSError: the disk is full, or may not be written to.
    """
    wanted = _checked(formats)
    model = copy.deepcopy(subnet).cpu().eval()
    inputs = _example(model, example)
    card = card or Card()
    former = _model_files(Path(folder))
    figures = {**measure_costs(model, first(inputs, 1)), **card.figures}
    with staged(folder) as stage:
        files = {}
        for name in wanted:
            file, facts = _WRITERS[name](model, inputs, stage)
            files[file] = facts
        loader = write_loader(model, stage, inputs, _built_with(source)) if _WEIGHTS in files else []
        config = {
            "kind": _KIND,
            "class": f"{type(subnet).__module__}.{type(subnet).__qualname__}",
            "source": None if source is None else source.untrained().to_dict(),
            "arch": None if arch is None else dict(arch),
            "arch_id": None if arch is None else Arch(arch).id,
            "input_size": list(_shape(inputs)[1:]),
            "preprocessing": _preprocessing(subnet, inputs) if preprocessing is None else dict(preprocessing),
            "figures": figures,
            "card": {key: value for key, value in asdict(card).items() if key != "figures"},
            "files": files,
            "loader": loader,
            "torch": torch.__version__,
        }
        write_json(stage / _CONFIG, config)
        write_card(stage / "README.md", card, config)
    for file in former - {*files, *loader}:
        (Path(folder) / file).unlink(missing_ok=True)
    return Exported(Path(folder), files, figures)


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


def _model_files(folder: Path) -> set[str]:
    """The files in `folder` that an earlier export wrote; of those it lists, only names that exports have."""
    try:
        config = read_config(folder)
    except CheckpointError:
        return set()
    return {_WEIGHTS, _ONNX, LOADER, SIZES} & {*config["files"], *config.get("loader", ())}


def _checked(formats: Sequence[str]) -> list[str]:
    for name in formats:
        if name in _LATER:
            raise ExportError(f"this version doesn't write {name!r} yet; {_LATER[name]}")
        if name not in _WRITERS:
            raise ExportError(f"no format {name!r}; choose of {', '.join(_WRITERS)}")
    return list(dict.fromkeys(formats))


def _example(model: nn.Module, example: Inputs | None) -> Inputs:
    if example is not None:
        example = moved(example, "cpu")
        return example if batch_size(example) > 1 else repeated(example, 2)
    text: Any = getattr(model, "config", None)
    if hasattr(text, "vocab_size"):
        return example_text(text, min(USUAL_LENGTH, text.max_position_embeddings // 2))
    config = getattr(model, "pretrained_cfg", None) or {}
    if "input_size" not in config:
        raise ExportError(f"{type(model).__name__} doesn't say its input size; pass example=, inputs (N, C, H, W)")
    shape = (int(getattr(model, "in_chans", config["input_size"][0])), *config["input_size"][1:])
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))


def _shape(inputs: Inputs) -> torch.Size:
    return inputs.shape if isinstance(inputs, Tensor) else next(iter(inputs.values())).shape


def _built_with(source: SupernetSource | None) -> Mapping[str, Any] | None:
    """The arguments that timm built the full model with; a supernet of another name has others."""
    return None if source is None else source.untrained().model_args


def _preprocessing(subnet: nn.Module, inputs: Inputs) -> dict[str, Any]:
    config = getattr(subnet, "pretrained_cfg", None) or {}
    if len(config.get("mean", ())) != _shape(inputs)[1]:  # says nothing of images with other channels
        return {}
    return {key: config[key] for key in ("mean", "std", "interpolation", "crop_pct") if key in config}


def _write_safetensors(model: nn.Module, inputs: Inputs, folder: Path) -> tuple[str, dict[str, Any]]:
    return _WEIGHTS, {"sha256": save_weights(model, folder / _WEIGHTS)}


def _write_onnx(model: nn.Module, inputs: Inputs, folder: Path) -> tuple[str, dict[str, Any]]:
    path = folder / _ONNX
    given = [inputs] if isinstance(inputs, Tensor) else inputs
    write_onnx(model, given, path)
    difference = compare_onnx(model, path, given)
    return _ONNX, {"sha256": sha256(path), "difference": asdict(difference), "tolerance": TOLERANCE}


_Writer = Callable[[nn.Module, Inputs, Path], tuple[str, dict[str, Any]]]

_WRITERS: dict[str, _Writer] = {"safetensors": _write_safetensors, "onnx": _write_onnx}
