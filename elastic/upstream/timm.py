"""What is known of timm: how it makes a model by name, and what its models say of their input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from torch import nn

from elastic.errors import RecipeError


def build_timm(name: str, args: Mapping[str, Any], input_size: Sequence[int] | None = None) -> nn.Module:
    """A model of timm.

    Args:
        name: as for `timm.create_model`.
        args: its keyword arguments.
        input_size: (channels, height, width) of the input; the model's own by default.

    Raises:
        RecipeError: no model of that name, no such pretrained tag, or arguments that it doesn't take.
    """
    import timm

    given = dict(args)
    if input_size is not None:
        overlay = given.get("pretrained_cfg_overlay") or {}
        given["pretrained_cfg_overlay"] = {**overlay, "input_size": tuple(input_size)}
    try:
        model: nn.Module = timm.create_model(name, **given)
    except TypeError as error:
        raise RecipeError(f"timm's {name} can't be made with model_args {given}: {error}") from error
    except RuntimeError as error:
        if "Invalid pretrained tag" in str(error):
            architecture, _, tag = name.partition(".")
            tags = ", ".join(model.partition(".")[2] for model in timm.list_pretrained(architecture))
            had = f"it has {tags or 'none'}"
            raise RecipeError(f"timm's {architecture} has no pretrained tag {tag!r}; {had}") from error
        if "Unknown model" not in str(error):
            raise
        near = ", ".join(get_close_matches(name, timm.list_models(), 5))
        raise RecipeError(
            f"timm has no model {name!r}; similar names: {near or 'none'}. Nor is it a supernet's name: "
            "elastic zoo list shows those"
        ) from error
    return model


def input_size(model: Any, default: tuple[int, int, int] = (3, 224, 224)) -> tuple[int, int, int]:
    """The (channels, height, width) that a timm model was configured for; `in_chans` overrides its channels."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    _, height, width = config.get("input_size") or default
    return int(getattr(model, "in_chans", 3)), int(height), int(width)
