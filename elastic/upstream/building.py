"""Models by name: timm's own names, `transformers:bert` for a fresh model and `transformers:org/name` for published."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from elastic.errors import RecipeError, first_line
from elastic.support.packages import require_packages
from elastic.support.text import did_you_mean
from elastic.upstream.input_normalization import Normalization, normalize_inputs

PREFIX = "transformers:"
"""The beginning of a name that is for transformers."""

_CLASSES = {
    "classification": "AutoModelForSequenceClassification",
    "masked_lm": "AutoModelForMaskedLM",
    "causal_lm": "AutoModelForCausalLM",
    "none": "AutoModel",
}
"""Head on top of the encoder or decoder → the class that adds it."""


def build_model(
    name: str,
    args: Mapping[str, Any],
    input_size: Sequence[int] | None = None,
    normalize: Normalization | None = None,
    others: Sequence[str] = (),
) -> nn.Module:
    """A model of timm or transformers, in training mode.

    Args:
        name: as for `timm.create_model`; of transformers behind the prefix (see `build_transformer`).
        args: the library's arguments, such as `num_classes` or `num_labels`.
        input_size: (channels, height, width) of images; the model's own by default.
        normalize: mean and std that the model normalises images by (see `elastic.upstream.input_normalization`).
        others: names of other origin, which a misspelt one may have meant.

    Raises:
        RecipeError: no such model, arguments that it doesn't take, or options of images for a model of text.
    """
    if not name.startswith(PREFIX):
        model = build_timm(name, args, input_size, others)
        if normalize is not None:
            normalize_inputs(model, normalize)
        return model
    for option, value in (("input_size", input_size), ("normalize", normalize)):
        if value is not None:
            raise RecipeError(f"{name} reads tokens; {option} is for images, leave it out")
    return build_transformer(name, args)


def build_timm(
    name: str, args: Mapping[str, Any], input_size: Sequence[int] | None = None, others: Sequence[str] = ()
) -> nn.Module:
    """A model of timm.

    Args:
        name: as for `timm.create_model`.
        args: its keyword arguments.
        input_size: (channels, height, width) of the input; the model's own by default.
        others: as for `build_model`.

    Raises:
        RecipeError: no model of that name, no such pretrained tag, or arguments that it doesn't take.
    """
    import timm

    if "/" in name and ":" not in name:  # timm would take it apart
        raise RecipeError(f"there is no folder {name}, and timm has no model of that name")
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
            raise _unknown_tag(name) from error
        if "Unknown model" not in str(error):
            raise
        raise unknown_model(name, others) from error
    return model


def is_timm_model(name: str) -> bool:
    """Whether timm has a model of this name, with or without a pretrained tag."""
    import timm

    return bool(timm.is_model(name))


def unknown_model(name: str, others: Sequence[str] = ()) -> RecipeError:
    """The error for a name that timm doesn't have; its message has the nearest names."""
    import timm

    cure = did_you_mean(name, [*others, *timm.list_models()], "elastic zoo list shows those of supernets")
    return RecipeError(f"there is no model {name!r}, neither timm's nor a named supernet; {cure}")


def _unknown_tag(name: str) -> RecipeError:
    import timm

    architecture, _, tag = name.partition(".")
    tags = ", ".join(model.partition(".")[2] for model in timm.list_pretrained(architecture))
    return RecipeError(f"timm's {architecture} has no pretrained tag {tag!r}; it has {tags or 'none'}")


class ConfiguredInput(NamedTuple):
    """Images that a model of timm takes: side in pixels; mean and standard deviation of values between 0 and 1."""

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def configured_input(name: str) -> ConfiguredInput:
    """The input of timm's model `name`; ImageNet's usual values if timm doesn't say.

    Raises:
        RecipeError: timm has no such model, or no such pretrained tag.
    """
    from timm.models import get_pretrained_cfg

    if not is_timm_model(name):
        raise unknown_model(name)
    try:
        config = get_pretrained_cfg(name)
    except RuntimeError as error:
        raise _unknown_tag(name) from error
    if config is None:
        return ConfiguredInput(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return ConfiguredInput(int(config.input_size[-1]), tuple(config.mean), tuple(config.std))


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
    is_type, trusted = is_type_of_transformers(own), fields.get("trust_remote_code")
    if not trusted and "/" in str(fields.get("attn_implementation", "")):
        given = fields["attn_implementation"]
        raise RecipeError(f"{name}: attn_implementation {given!r} is code of the hub's, which isn't run; name another")
    if not is_type and not _may_be_published(own):
        raise unknown_type(own)
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
        return _made(builder.from_config(config, trust_remote_code=trusted))
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise RecipeError(
            f"transformers can't make {own!r} with {fields or 'no arguments'}: {first_line(error)}; give a type such "
            f"as bert, a published model's name (which needs a network the first time), or its folder"
        ) from error


def is_type_of_transformers(own: str) -> bool:
    """Whether a name, without the prefix, is a model type of transformers."""
    import transformers

    return own in transformers.CONFIG_MAPPING


_PUBLISHED = re.compile(r"[\w-][\w.-]*/[\w.-]+")
"""OWNER/NAME on the hub."""


def _may_be_published(own: str) -> bool:
    """Whether the name may be a published model: a folder, OWNER/NAME, or a one-word name that was downloaded."""
    from huggingface_hub import try_to_load_from_cache

    if own and (Path(own).is_dir() or _PUBLISHED.fullmatch(own)):
        return True
    try:
        return "/" not in own and isinstance(try_to_load_from_cache(own, "config.json"), str)
    except ValueError:  # no name that the hub gives
        return False


def unknown_type(own: str) -> RecipeError:
    """The error for a name, without the prefix, that is no type of transformers; its message has the nearest."""
    from transformers import CONFIG_MAPPING

    cure = did_you_mean(own, list(CONFIG_MAPPING), "types are bert, llama and the like")
    return RecipeError(
        f"transformers has no type of model {own!r}, there is no such folder, and a published model's name is "
        f"OWNER/NAME; {cure}"
    )


def language_model_arguments(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a type's language model: those `fields` that its configuration has, and its head.

    Args:
        name: a type behind the prefix.
        fields: of a configuration.

    Raises:
        PackageError: transformers isn't installed.
        RecipeError: it has no such type, or no language model of it.
    """
    require_packages(name, "transformers")
    from transformers import CONFIG_MAPPING, AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    own = name.removeprefix(PREFIX)
    if own not in CONFIG_MAPPING:
        raise unknown_type(own)
    heads = {"masked_lm": MODEL_FOR_MASKED_LM_MAPPING_NAMES, "causal_lm": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES}
    head = next((head for head, types in heads.items() if own in types), None)
    if head is None:
        raise RecipeError(f"transformers has no language model of the type {own!r}; there are bert, llama, …")
    config = AutoConfig.for_model(own)
    known = {field: value for field, value in fields.items() if hasattr(config, field)}
    return {**known, "head": head}


def _check_fields(own: str, config: Any, fields: Mapping[str, Any]) -> None:
    """Refuse what the configuration doesn't have, and transformers would keep without a word."""
    for field, value in fields.items():
        # what it takes and keeps under another name (rope_theta) isn't among its attributes afterwards
        if not hasattr(config, field) and field in vars(type(config)(**{field: value})):
            known = [name for name in config.to_dict() if not name.startswith("_")]
            cure = did_you_mean(field, known, f"it has {', '.join(sorted(known))}")
            raise RecipeError(f"the configuration of {own!r} has no {field!r}; {cure}")


def _made(model: Any) -> nn.Module:
    made: nn.Module = model.train()  # as timm's come
    return made
