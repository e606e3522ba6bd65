"""What models of transformers say of themselves: read by recipes, and restated in what was extracted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from elastic.errors import LayoutError
from elastic.support.inputs import USUAL_LENGTH


def prefix_of(model: Any) -> str:
    """The path of the bare model inside one with a head, with its dot; nothing where the model is bare."""
    prefix = model.base_model_prefix
    return f"{prefix}." if hasattr(model, prefix) else ""


def checked_length(length: int | None, longest: int | None, name: str) -> int:
    """How many tokens costs are counted on.

    Args:
        length: what is wished; None for the usual 128, or fewer.
        longest: how many the model takes; None where there is no limit.
        name: of the model, for the message.

    Raises:
        LayoutError: more than the model takes, or none.
    """
    if length is None:
        return min(USUAL_LENGTH, longest or USUAL_LENGTH)
    if not isinstance(length, int):
        raise LayoutError(f"length={length!r}: wanted a number of tokens, an int")
    if length < 1 or length > (longest or length):
        range_ = "1 token or more" if longest is None else f"1 to {longest} tokens"
        raise LayoutError(f"length={length}: this {name} takes {range_}; choose a length among them")
    return length


def set_depth(config: Any, layers: Sequence[nn.Module]) -> None:
    """Restate the number of layers, and number those that are left: a cache looks keys and values up by it."""
    config.num_hidden_layers = len(layers)
    if "layer_types" in vars(config) and config.layer_types:
        config.layer_types = config.layer_types[: len(layers)]  # all of one type where depth is elastic
    for index, layer in enumerate(layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index  # type: ignore[assignment]


def shared_value(values: Sequence[int], otherwise: int) -> int:
    """What all layers have; `otherwise` where they differ, which a configuration has no word for."""
    return values[0] if len(set(values)) == 1 else otherwise
