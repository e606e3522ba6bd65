"""Models of transformers by name: `transformers:bert` is a fresh one, `transformers:org/name` a published one."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from torch import nn

from elastic.errors import RecipeError, first_line
from elastic.support.packages import require_packages

PREFIX = "transformers:"
"""What such a name begins with."""

_CLASSES = {
    "classification": "AutoModelForSequenceClassification",
    "masked_lm": "AutoModelForMaskedLM",
    "causal_lm": "AutoModelForCausalLM",
    "none": "AutoModel",
}
"""What is on top of the encoder or decoder, and the class that adds it."""


def build_transformer(name: str, args: Mapping[str, Any]) -> nn.Module:
    """A model of transformers, in training mode.

    Args:
        name: behind the prefix a type such as `bert` or `llama`; or a published model's name or folder, whose
            configuration it gets.
        args: fields of its configuration, such as `num_labels` or `hidden_size`; and `pretrained` (load the published
            weights) and `head`: classification (the default), masked_lm, causal_lm or none.

    Raises:
        PackageError: transformers isn't installed.
        RecipeError: it has no such model, or can't make it with `args`.
    """
    require_packages(name, "transformers")
    import transformers

    fields = dict(args)
    pretrained, head = bool(fields.pop("pretrained", False)), fields.pop("head", "classification")
    if head not in _CLASSES:
        raise RecipeError(f"{name}: no head {head!r}; choose one of {', '.join(_CLASSES)}")
    builder = getattr(transformers, _CLASSES[head])
    own = name.removeprefix(PREFIX)
    is_type = own in transformers.CONFIG_MAPPING
    if is_type and pretrained:
        raise RecipeError(f"{own} is a type of model, which has no weights; name a published {own} instead")
    try:
        if is_type:
            _check_fields(own, transformers.AutoConfig.for_model(own), fields)
            return _made(builder.from_config(transformers.AutoConfig.for_model(own, **fields)))
        if pretrained:
            return _made(builder.from_pretrained(own, **fields))
        config, unknown = transformers.AutoConfig.from_pretrained(own, return_unused_kwargs=True, **fields)
        _check_fields(own, config, unknown)
        return _made(builder.from_config(config))
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise RecipeError(
            f"transformers can't make {own!r} with {fields or 'no arguments'}: {first_line(error)}; give a type such "
            "as bert, a published model's name (which needs a network the first time), or its folder"
        ) from error


def language_model_arguments(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a type's language model: those `fields` that its configuration has, and its head.

    Args:
        name: a type behind the prefix.
        fields: of a configuration.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    own = name.removeprefix(PREFIX)
    config = AutoConfig.for_model(own)
    known = {field: value for field, value in fields.items() if hasattr(config, field)}
    return {**known, "head": "masked_lm" if own in MODEL_FOR_MASKED_LM_MAPPING_NAMES else "causal_lm"}


def _check_fields(own: str, config: Any, fields: Mapping[str, Any]) -> None:
    """Refuse what the configuration doesn't have, and transformers would keep without a word."""
    for field, value in fields.items():
        # what it takes and keeps under another name (rope_theta) isn't among its attributes afterwards
        if not hasattr(config, field) and field in vars(type(config)(**{field: value})):
            known = [name for name in config.to_dict() if not name.startswith("_")]
            near = get_close_matches(field, known, 1)
            cure = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(known))}"
            raise RecipeError(f"the configuration of {own!r} has no {field!r}; {cure}")


def _made(model: Any) -> nn.Module:
    made: nn.Module = model.train()  # as timm's come
    return made
