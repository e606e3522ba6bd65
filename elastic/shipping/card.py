"""The model card: an exported subnet's `README.md`, with measured metrics only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elastic.formats import FORMATS
from elastic.support.files import write_text
from elastic.support.templates import render
from elastic.support.text import spell_bytes, spell_metric, spell_name
from elastic.upstream.transformers import LOAD_TOKENIZER, task_of

_LISTED = 20
"""The largest number of classes whose names the card lists."""

_WEIGHTS = FORMATS["safetensors"].files[0]


@dataclass(frozen=True)
class ModelCard:
    """Facts about a subnet that its files don't say.

    Attributes:
        title: one line.
        metrics: measured metrics, by name: `{"accuracy": 97.8, "latency_ms": 1.2}`.
        data: the data that it was trained and measured on.
        license: of the weights.
        text: anything else, in Markdown.
        classes: their names by their numbers, of a classifier; empty where they aren't known.
    """

    title: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    data: str = ""
    license: str = ""
    text: str = ""
    classes: Sequence[str] = ()


Card = ModelCard
"""The former name."""


def write_card(path: Path, card: ModelCard, config: Mapping[str, Any]) -> None:
    """Write the card of the subnet that `config` (its `config.json`) describes."""
    name = (config["source"] or {}).get("model") or config["class"].rpartition(".")[2]
    text = render(
        "elastic/shipping/card.md.jinja",
        card=card,
        title=one_line(card.title or f"{name}, cut out of a supernet"),
        license=card.license.lower() if re.fullmatch(r"[\w.+-]+", card.license) else "",
        config=config,
        name=name,
        task=_task(config),
        facts=_facts(name, card, config),
        files={file: _known(facts) for file, facts in config["files"].items()},
        spell_latency=spell_latency,
        load_tokenizer=LOAD_TOKENIZER,
        loads_with_elastic=_WEIGHTS in config["files"] and None not in (config["source"], config["arch"]),
        runs=list(_runs(config)),
    )
    write_text(path, text.rstrip() + "\n")


def one_line(text: str) -> str:
    """Text in a heading or a table's cell of Markdown: on one line, ending no cell and beginning no HTML."""
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")


def spell_check(facts: Mapping[str, Any]) -> str:
    """A file's comparison with PyTorch's output, in one line; empty where there was none."""
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
    """The accuracy that int8 costs."""
    if "accuracy" in facts:
        one = facts["accuracy"]
        return [f"accuracy {one['after']:.2f} %, before {one['before']:.2f} %, on {one['inputs']} validation inputs"]
    if "agreement" in facts:
        one = facts["agreement"]
        return [f"the same class as in float32 for {one['percent']:.1f} % of {one['inputs']} calibration inputs"]
    return []


def spell_latency(row: Mapping[str, Any]) -> str:
    """A measured latency: `1.23 ms ± 1 %`."""
    return f"{spell_metric('latency_ms', row['median_ms'])} ± {row['uncertainty']:.1%}"


def _task(config: Mapping[str, Any]) -> str:
    """The hub's name for the model's task."""
    if not _is_text(config):
        return "image-classification"
    return task_of(config["class"])


def _facts(name: str, card: ModelCard, config: Mapping[str, Any]) -> dict[str, str]:
    """The first table: name, input, arch, metrics, data, license."""
    facts = {
        "model": f"`{name}` (`{config['class']}`)",
        "input": " × ".join(str(length) for length in config["input_size"]),
        "arch": f"`{config['arch_id']}`" if config["arch_id"] else "",
        **{spell_name(key): spell_metric(key, value) for key, value in config["metrics"].items()},
        "classes": _classes(card.classes),
        "data": card.data,
        "license": card.license,
    }
    return {one_line(key): one_line(value) for key, value in facts.items() if value}


def _classes(names: Sequence[str]) -> str:
    return f"{len(names)}, in `config.json`" if len(names) > _LISTED else ", ".join(names)


def _known(facts: Mapping[str, Any]) -> list[str]:
    """Facts about a file: size, batch size, and its comparison with PyTorch's output."""
    parts = [spell_bytes(facts["bytes"])] if "bytes" in facts else []
    if facts.get("batch"):
        parts.append("any batch size" if facts["batch"] == "any" else f"batch {facts['batch']}")
    return [*parts, *filter(None, [spell_check(facts)])]


def _runs(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """For each file that a runtime runs: its name, the runtime, and Python code that runs it."""
    for made in FORMATS.values():
        file, text = made.files[0], made.for_text if _is_text(config) else made.for_images
        if file in config["files"] and text:
            yield file, made.runtime, text.format(file=file, names=config["inputs"], length=config["input_size"][0])


def _is_text(config: Mapping[str, Any]) -> bool:
    return bool(config["inputs"])
