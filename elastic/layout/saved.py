"""A recipe as plain JSON values, and back: what a saved supernet's description says is elastic.

Reading it runs neither the recipe's function nor discovery, and no code but that of transforms and settings which were
registered under a name (`register_code`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, fields
from fractions import Fraction
from typing import Any, TypeVar

import torch

from elastic.errors import CheckpointError
from elastic.layout.recipe import Recipe
from elastic.space.sizes import Derived, DimRule
from elastic.support.inputs import InputSpec
from elastic.support.tensors import nested

_FORMER_FIELDS = {"lengths", "products"}
"""Fields of older files about costs, which are counted now."""

_CODE: dict[str, type[Any]] = {}
_Class = TypeVar("_Class", bound=type[Any])


def register_code(name: str) -> Callable[[_Class], _Class]:
    """Let a recipe's transform or `settle` be saved under `name`.

    The class is a frozen dataclass whose fields are integers and strings: these are saved with the name, and its
    constructor gets them back.
    """

    def keep(cls: _Class) -> _Class:
        _CODE[name] = cls
        return cls

    return keep


def describe_recipe(recipe: Recipe) -> dict[str, Any] | None:
    """The recipe as plain JSON values, fields with default values left out.

    Returns:
        None where a transform or `settle` isn't registered: such a supernet can only be built anew.
    """
    code = [*recipe.transforms.values(), *([] if recipe.settle is None else [recipe.settle])]
    if not all(type(one) in _CODE.values() for one in code):
        return None
    described = _given(recipe)
    described["dims"] = {name: _given(rule) for name, rule in recipe.dims.items()}
    described["derived"] = {name: {**_given(one), "ratio": str(one.ratio)} for name, one in recipe.derived.items()}
    described["transforms"] = {entry: _describe_code(one) for entry, one in recipe.transforms.items()}
    described["inputs"] = [asdict(one) for one in recipe.inputs]
    described["settle"] = None if recipe.settle is None else _describe_code(recipe.settle)
    plain: dict[str, Any] = _plain(described)
    return plain


def read_recipe(described: Mapping[str, Any]) -> Recipe:
    """The recipe that `describe_recipe` described.

    Raises:
        CheckpointError: something else, or a transform that this version doesn't have.
    """
    try:
        return _read(described)
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"the layout of the saved supernet can't be read ({type(error).__name__}: {error}); the file was altered, "
            "or written by a newer version of elastic: install that"
        ) from error


def _read(described: Mapping[str, Any]) -> Recipe:
    values = {name: one for name, one in described.items() if name not in _FORMER_FIELDS}
    values["layout"] = _texts(values["layout"])
    values["dims"] = {name: _read_rule(rule) for name, rule in values["dims"].items()}
    values["derived"] = {name: _read_formula(one) for name, one in values.get("derived", {}).items()}
    values["transforms"] = {entry: _read_code(one) for entry, one in values.get("transforms", {}).items()}
    values["settle"] = None if values.get("settle") is None else _read_code(values["settle"])
    values["input_size"] = tuple(map(int, values.get("input_size", ())))
    values["inputs"] = tuple(_read_input(one) for one in values.get("inputs", ()))
    if (names := [one.name for one in values["inputs"]]) != [""]:
        nested(dict.fromkeys(names))  # or they can't be taken apart
    for name in ("notes", "couple"):
        values[name] = _texts(values.get(name, {}))
    return Recipe(**values)


def _read_rule(values: Mapping[str, Any]) -> DimRule:
    if "choices" not in values:
        return DimRule(**values)
    choices = tuple(values["choices"])
    if not all(type(choice) in (int, float) for choice in choices):
        raise ValueError(f"choices {choices}: wanted numbers")
    return DimRule(**{**values, "choices": choices})


def _read_input(values: Mapping[str, Any]) -> InputSpec:
    spec = InputSpec(**{**values, "shape": tuple(map(int, values["shape"]))})
    if not isinstance(getattr(torch, spec.dtype, None), torch.dtype) or type(spec.below) is not int:
        raise ValueError(f"there is no dtype {spec.dtype!r}")
    return spec


def _read_formula(values: Mapping[str, Any]) -> Derived:
    return Derived(**{**values, "parts": tuple(map(str, values["parts"])), "ratio": Fraction(values["ratio"])})


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in values.values()):
        raise ValueError(f"wanted text for each of {list(values)[:3]} …")
    return dict(values)


def _describe_code(one: Any) -> dict[str, Any]:
    name = next(name for name, cls in _CODE.items() if cls is type(one))
    return {"name": name, **asdict(one)}


def _read_code(values: Mapping[str, Any]) -> Any:
    arguments = dict(values)
    name = arguments.pop("name")
    if name not in _CODE:
        raise ValueError(f"there is no transform {name!r}")
    return _CODE[name](**arguments)


def _given(one: Any) -> dict[str, Any]:
    """The fields of a dataclass that aren't as by default."""
    return {
        field.name: getattr(one, field.name) for field in fields(one) if getattr(one, field.name) != _default(field)
    }


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _plain(value: Any) -> Any:
    """Mappings as dictionaries, sequences as lists."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return list(map(_plain, value)) if isinstance(value, (list, tuple)) else value
