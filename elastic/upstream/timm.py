"""What is known of timm: how it makes a model by name, and what its models say of their input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

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
        raise unknown_model(name) from error
    return model


def is_timm_model(name: str) -> bool:
    """Whether timm makes a model of this name, a pretrained tag behind it or not."""
    import timm

    return bool(timm.is_model(name))


def unknown_model(name: str) -> RecipeError:
    """The error to raise where timm has no model `name`: it says the nearest names."""
    import timm

    near = ", ".join(get_close_matches(name, timm.list_models(), 5))
    return RecipeError(
        f"timm has no model {name!r}; similar names: {near or 'none'}. Nor is it a supernet's name: "
        "elastic zoo list shows those"
    )


def input_size(model: Any, default: tuple[int, int, int] = (3, 224, 224)) -> tuple[int, int, int]:
    """The (channels, height, width) that a timm model was configured for; `in_chans` overrides its channels."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    _, height, width = config.get("input_size") or default
    return int(getattr(model, "in_chans", 3)), int(height), int(width)


class ConfiguredInput(NamedTuple):
    """The images that a model of timm is made for: side in pixels, and mean and deviation of values between 0 and 1."""

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def configured_input(name: str) -> ConfiguredInput:
    """What timm says of the input of the model `name`; ImageNet's usual values where it says nothing.

    Raises:
        RecipeError: timm has no such model.
    """
    from timm.models import get_pretrained_cfg

    if not is_timm_model(name):
        raise unknown_model(name)
    config = get_pretrained_cfg(name)
    if config is None:
        return ConfiguredInput(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return ConfiguredInput(int(config.input_size[-1]), tuple(config.mean), tuple(config.std))
