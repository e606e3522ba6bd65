"""The model card: an exported subnet's `README.md`, of measured figures only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elastic.formats import FORMATS
from elastic.support.files import write_text
from elastic.support.text import spell_bytes, spell_figure, spell_name
from elastic.upstream.transformers import LOAD_TOKENIZER, task_of


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
    lines = [*_hub_lines(card, config), f"# {card.title or f'{name}, cut out of a supernet'}", ""]
    lines += [card.text, ""] if card.text else []
    lines += _facts(name, card, config)
    lines += _latency(config["latency"]) if config["latency"] else []
    lines += ["Files:", ""]
    lines += [f"- `{file}`{_known(facts)}" for file, facts in config["files"].items()]
    lines += ["", *_usage(config)]
    if config["preprocessing"]:
        lines += [f"Inputs are prepared with `{config['preprocessing']}`.", ""]
    write_text(path, "\n".join(lines[:-1]) + "\n")


def spell_check(facts: Mapping[str, Any]) -> str:
    """In one line, what a file's comparison with PyTorch's output gave; empty where there was none."""
    difference = facts.get("difference")
    if difference is None:
        return ""
    if not difference["largest"]:
        return "the same numbers as PyTorch's"
    differs = f"{difference['largest']:.1e} at most, {difference['relative']:.1e} of the largest output"
    if "tolerance" in facts:
        return f"differs from PyTorch's by {differs} (allowed: {facts['tolerance']:.0e})"
    return "; ".join([*_judged(facts), f"outputs differ by {differs}"])


def _judged(facts: Mapping[str, Any]) -> list[str]:
    """What int8 costs."""
    if "accuracy" in facts:
        one = facts["accuracy"]
        return [f"accuracy {one['after']:.2f} %, before {one['before']:.2f} %, on {one['inputs']} validation inputs"]
    if "agreement" in facts:
        one = facts["agreement"]
        return [f"the same class as in float32 for {one['percent']:.1f} % of {one['inputs']} calibration inputs"]
    return []


def spell_latency(row: Mapping[str, Any]) -> str:
    """A measured latency: `1.23 ms ± 1 %`."""
    return f"{spell_figure('latency_ms', row['median_ms'])} ± {row['uncertainty']:.1%}"


def _hub_lines(card: Card, config: Mapping[str, Any]) -> list[str]:
    """What the Hugging Face hub reads of a card."""
    lines = ["---", "tags:", "- elastic-supernets", f"pipeline_tag: {_task(config)}"]
    library = config["class"].partition(".")[0]
    lines += [f"library_name: {library}"] if config["native"] else []
    lines += [f"license: {card.license.lower()}"] if card.license and " " not in card.license else []
    return [*lines, "---", ""]


def _task(config: Mapping[str, Any]) -> str:
    """The hub's name for the model's task."""
    if not _is_text(config):
        return "image-classification"
    return task_of(config["class"])


def _facts(name: str, card: Card, config: Mapping[str, Any]) -> list[str]:
    size = " × ".join(str(length) for length in config["input_size"])
    lines = ["| | |", "|---|---|", f"| model | `{name}` (`{config['class']}`) |", f"| input | {size} |"]
    lines += [f"| arch | `{config['arch_id']}` |"] if config["arch_id"] else []
    lines += [f"| {spell_name(key)} | {spell_figure(key, value)} |" for key, value in config["figures"].items()]
    lines += [f"| {key} | {value} |" for key, value in (("data", card.data), ("license", card.license)) if value]
    return [*lines, ""]


def _latency(measured: Mapping[str, Any]) -> list[str]:
    device = measured["device"]
    where = f"{device['processor']}, {measured['threads']} of {device['cores']} cores, batch {measured['batch_size']}"
    lines = [f"Latency on {where}:", "", "| file | runtime | latency |", "|---|---|---|"]
    for row in measured["runs"]:
        file = f"`{row['file']}`" if row["file"] else ""
        lines.append(f"| {file} | {row['runtime']} | {spell_latency(row)} |")
    lines += ["", f"The figures are noisy: {'; '.join(measured['objections'])}."] if measured["objections"] else []
    return [*lines, ""]


def _known(facts: Mapping[str, Any]) -> str:
    parts = [spell_bytes(facts["bytes"])] if "bytes" in facts else []
    if facts.get("batch"):
        parts.append("any batch size" if facts["batch"] == "any" else f"batch {facts['batch']}")
    parts += [text for text in [spell_check(facts)] if text]
    return f": {'; '.join(parts)}" if parts else ""


def _usage(config: Mapping[str, Any]) -> list[str]:
    """How each file is run."""
    lines = []
    if FORMATS["safetensors"].files[0] in config["files"] and None not in (config["source"], config["arch"]):
        lines += _code('import elastic\n\nmodel, config = elastic.load_subnet(".")')
    if config["native"] or config["loader"]:
        lines += ["Where elastic isn't installed, in this folder:", ""]
        lines += _code(config["native"] or "from load import load\n\nmodel = load()")
    if "tokenizer" in config["preprocessing"]:
        lines += ["Its tokenizer, in this folder too:", ""]
        lines += _code(LOAD_TOKENIZER)
    for made in FORMATS.values():
        text = made.for_text if _is_text(config) else made.for_images
        if made.files[0] in config["files"] and text:
            names, length = config["inputs"], config["input_size"][0]
            lines += [f"`{made.files[0]}` in {made.runtime}:", ""]
            lines += _code(text.format(file=made.files[0], names=names, length=length))
    return lines


def _code(text: str) -> list[str]:
    return ["```python", *text.rstrip().split("\n"), "```", ""]


def _is_text(config: Mapping[str, Any]) -> bool:
    return bool(config["inputs"])
