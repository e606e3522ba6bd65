"""The model card: an exported subnet's `README.md`, of measured figures only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elastic.storage import write_text
from elastic.words import spell_figure, spell_name


@dataclass(frozen=True)
class Card:
    """What people want to know of a subnet, beyond what the files say.

    Attributes:
        title: one line.
        figures: measured ones only, by name: `{"accuracy": 97.8, "latency_ms": 1.2}`.
        data: what it was trained and measured on.
        license: of the weights.
        text: anything else, in Markdown.
    """

    title: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    data: str = ""
    license: str = ""
    text: str = ""


def write_card(path: Path, card: Card, config: Mapping[str, Any]) -> None:
    """Write the card of the subnet that `config` (its `config.json`) describes."""
    name = (config["source"] or {}).get("model") or config["class"].rpartition(".")[2]
    size = " × ".join(str(length) for length in config["input_size"])
    lines = [f"# {card.title or f'{name}, cut out of a supernet'}", ""]
    lines += [card.text, ""] if card.text else []
    lines += ["| | |", "|---|---|", f"| model | `{name}` (`{config['class']}`) |", f"| input | {size} |"]
    lines += [f"| arch | `{config['arch_id']}` |"] if config["arch_id"] else []
    lines += [f"| {spell_name(key)} | {spell_figure(key, value)} |" for key, value in config["figures"].items()]
    lines += [f"| {key} | {value} |" for key, value in (("data", card.data), ("license", card.license)) if value]
    lines += ["", "Files:", ""]
    lines += [f"- `{file}`{_facts(facts)}" for file, facts in config["files"].items()]
    lines += _usage(config)
    write_text(path, "\n".join(lines) + "\n")


def _facts(facts: Mapping[str, Any]) -> str:
    if "difference" not in facts:
        return ""
    largest, relative = facts["difference"]["largest"], facts["difference"]["relative"]
    return f": any batch size; differs from PyTorch's output by {largest:.2g} at most ({relative:.2g} of the largest)"


_ONNX_IMAGES = "logits = session.run(None, {session.get_inputs()[0].name: images})[0]  # float32 images"
_ONNX_TEXT = "logits = session.run(None, dict(tokenizer(texts, padding=True, return_tensors='np')))[0]"


def _usage(config: Mapping[str, Any]) -> list[str]:
    lines = [""]
    if "model.safetensors" in config["files"] and config["source"] and config["arch"]:
        lines += ["```python", "import elastic", "", 'model, config = elastic.load_subnet(".")', "```", ""]
    if config.get("loader"):
        lines += ["Where elastic isn't installed, in this folder:", "", "```python", "from load import load", ""]
        lines += ["model = load()", "```", ""]
    if "model.onnx" in config["files"]:
        lines += ["```python", "import onnxruntime", "", 'session = onnxruntime.InferenceSession("model.onnx")']
        lines += [_ONNX_TEXT if len(config["input_size"]) == 1 else _ONNX_IMAGES, "```", ""]
    if config["preprocessing"]:
        lines += [f"Inputs are prepared with `{config['preprocessing']}`.", ""]
    return lines[:-1]
