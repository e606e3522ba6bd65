"""A model's name and arguments as they stand in files: plain data, which names no code, no file and no address.

What is saved says all sizes itself. What is read may be anybody's: weights come from the folder, so whatever says where
others are is left out, and whatever would run code or ask the network is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from elastic.errors import CheckpointError, RecipeError
from elastic.upstream.building import PREFIX, is_type_of_transformers
from elastic.upstream.timm import DESCRIBES_MODEL

LARGEST = 1 << 28
"""The largest number that a model's arguments may have."""

_WEIGHTS = frozenset({
    "pretrained", "checkpoint_path", "pretrained_strict", "cache_dir", "use_pretrained_backbone", "pretrained_backbone",
    "features_only", "scriptable", "local_files_only", "revision", "token", "proxies", "force_download", "subfolder",
})  # fmt: skip
"""Where weights are, and how they are fetched."""
_CONFIGURED = ("pretrained_cfg", "pretrained_cfg_overlay")
"""timm's configuration of pretrained weights, which says of images what they are like, too."""
_CODE = frozenset({
    "trust_remote_code", "code_revision", "auto_map", "class_path", "custom_load", "quantization_config"
})  # fmt: skip
"""Arguments that make a library run, or fetch, code."""
_SCHEMES = ("hf-hub:", "hf_hub:", "local-dir:")
_ADDRESS = ("/", "~", "\\", "..", "file:", "http:", "https:")


def saved_arguments(args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments without what says where weights are."""
    kept = {key: value for key, value in args.items() if key not in _WEIGHTS and value is not None}
    for key in _CONFIGURED:
        given = kept.pop(key, None)
        described = _described(given)
        if described:
            kept[key] = described
    return kept


def _described(configured: Any) -> dict[str, Any]:
    if not isinstance(configured, Mapping):  # a tag of weights
        return {}
    return {key: value for key, value in configured.items() if key in DESCRIBES_MODEL}


def read_arguments(name: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a model, read from a file of anybody's.

    Args:
        name: the model's, as for `elastic.upstream.building.build_model`.
        args: as the file has them.

    Raises:
        CheckpointError: they name code, a file or an address; or are no plain data.
    """
    if name.startswith(_SCHEMES):
        raise CheckpointError(
            f"the model is {name!r:.80}, which is fetched, or read from another folder; a saved supernet names a model "
            "of timm itself: save it again"
        )
    kept = {key: value for key, value in saved_arguments(args).items() if not (key in _CODE and not value)}
    for key, value in _leaves(kept):
        if key.rpartition(".")[2] in _CODE:
            raise CheckpointError(f"model_args.{key} is {value!r:.60}; what a file names as code isn't run, remove it")
        if isinstance(value, str) and (value.startswith(_ADDRESS) or "://" in value or _fetches(key, value)):
            raise CheckpointError(f"model_args.{key} is {value!r:.80}; a file or an address isn't read, remove it")
        if isinstance(value, (int, float)) and not abs(value) <= LARGEST:
            raise CheckpointError(f"model_args.{key} is {value:.3g}, which no model has; the file was altered")
        if not isinstance(value, (str, int, float, type(None))):
            raise CheckpointError(f"model_args.{key} is a {type(value).__name__}, wanted plain data")
    own = name.removeprefix(PREFIX)
    if name.startswith(PREFIX) and not is_type_of_transformers(own):
        kept |= {"local_files_only": True, "trust_remote_code": False}
    return kept


def _fetches(key: str, value: str) -> bool:
    """Whether an argument would fetch attention code, or a backbone, from the hub."""
    return "/" in value and key.rpartition(".")[2] in ("attn_implementation", "_attn_implementation", "backbone")


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            inner = f"{place}.{key}" if place else str(key)
            if key in _CODE:
                yield inner, one
            yield from _leaves(one, inner)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _leaves(one, place)
    else:
        yield place, value


def self_contained(name: str, args: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of a type or architecture, and arguments that say all sizes, in place of a published model's name.

    Args:
        name: as for `elastic.upstream.building.build_model`.
        args: its arguments.

    Returns:
        Both as they are where a name says no place, or where the library can't say the sizes.
    """
    kept = saved_arguments(args)
    own = name.removeprefix(PREFIX)
    if name.startswith(PREFIX):
        if is_type_of_transformers(own):
            return name, kept
        fields = {key: value for key, value in args.items() if key not in ("head", "pretrained")}
        found = _published_fields(own, json.dumps(fields, sort_keys=True, default=str))
        if found is None:
            return name, kept
        kind, known = found
        return PREFIX + kind, {**known, **({"head": args["head"]} if "head" in args else {})}
    if name.startswith(_SCHEMES):
        described = _hub_arguments(name)
        return (name, kept) if described is None else (described[0], {**described[1], **kept})
    return name, kept


@cache
def _published_fields(own: str, fields: str) -> tuple[str, dict[str, Any]] | None:
    """A published configuration's type, and its fields that aren't as by default."""
    from transformers import CONFIG_MAPPING, AutoConfig

    try:
        config = AutoConfig.from_pretrained(own, **{**json.loads(fields), "local_files_only": True})
    except (OSError, ValueError):
        return None
    if config.model_type not in CONFIG_MAPPING or type(config) is not CONFIG_MAPPING[config.model_type]:
        return None  # of remote code
    plain = AutoConfig.for_model(config.model_type)
    given = json.loads(config.to_json_string(use_diff=True))
    left_out = {"model_type", "transformers_version", "architectures", "dtype", "torch_dtype", *_CODE, *_WEIGHTS}
    known = {key: value for key, value in given.items() if key not in left_out and hasattr(plain, key)}
    return config.model_type, {key: value for key, value in known.items() if not key.startswith("_")}


@cache
def _hub_arguments(name: str) -> tuple[str, dict[str, Any]] | None:
    """The architecture and arguments that a folder of timm's, here or on the hub, describes."""
    try:
        from timm.models import load_model_config_from_hf
        from timm.models._hub import load_model_config_from_path

        scheme, _, place = name.partition(":")
        read = load_model_config_from_path if scheme == "local-dir" else load_model_config_from_hf
        configured, architecture, arguments = read(place)
    except (ImportError, OSError, ValueError, LookupError, RecipeError):
        return None
    classes = {"num_classes": configured["num_classes"]} if "num_classes" in configured else {}
    return architecture, {**classes, **(arguments or {})}
