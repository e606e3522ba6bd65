"""A recipe: a family's layout, and the choices of its sizes. The registry finds the recipe for a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from elastic.errors import LayoutError
from elastic.space.sizes import Derived, DimRule, Number, for_name
from elastic.support.inputs import Inputs, InputSpec, example_inputs, inputs_of
from elastic.support.text import did_you_mean

if TYPE_CHECKING:
    from elastic.layers.read_rules import Transform


@dataclass(frozen=True, repr=False)
class Recipe:
    """Everything that makes a model elastic, as data.

    Attributes:
        layout: entries in the layout notation (see `elastic.layout.notation`).
        dims: the choices of each kind of size. A key is the first part of a size's name (`heads` for `heads.3`),
            its whole name, or a glob pattern. Later keys win over earlier ones.
        derived: size name → formula, for sizes that follow from others.
        transforms: layout entry → function that makes a tensor which slicing alone can't.
        resolution: side of the square input in pixels, for models of images.
        input_size: shape of one input, without the batch axis; costs are counted for it.
        notes: part that stays fixed → reason, for `elastic inspect`.
        couple: follower → leader, for dims that follow another's choice (see `elastic.space.coupling`).
        width_scaling: scale weights for the inputs that a narrow subnet lacks (see `elastic.layout.scaling`).
        vocabulary: number of token ids that the model reads; None if its inputs are floats.
        inputs: what goes in, where that is more than one tensor of `input_size`: several, or of other dtypes.
        settle: function that makes an extracted model's configuration agree with its sizes.
        name: the registered recipe's name; empty for a recipe that was written by hand.
    """

    layout: Mapping[str, str]
    dims: Mapping[str, DimRule]
    derived: Mapping[str, Derived] = field(default_factory=dict)
    transforms: Mapping[str, Transform] = field(default_factory=dict)
    resolution: int | None = None
    input_size: tuple[int, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    couple: Mapping[str, str] = field(default_factory=dict)
    width_scaling: bool = False
    vocabulary: int | None = None
    inputs: tuple[InputSpec, ...] = ()
    settle: Callable[[nn.Module], None] | None = None
    name: str = ""

    def __repr__(self) -> str:
        """One line: its name, how many entries its layout has, and the sizes that have choices."""
        kinds = ", ".join(dict.fromkeys(name.split(".")[0] for name in self.dims)) or "nothing"
        return f"Recipe({self.name or 'written by hand'}: {len(self.layout)} entries, choices of {kinds})"

    def input_shape(self, values: Mapping[str, Number]) -> tuple[int, ...]:
        """Shape of one input for these values of the dims, without the batch axis."""
        side = values.get("resolution")
        return self.input_size if side is None else (*self.input_size[:-2], int(side), int(side))

    def example_inputs(
        self,
        values: Mapping[str, Number],
        n: int = 1,
        device: torch.device | str = "cpu",
        seed: int | None = None,
    ) -> Inputs:
        """Made-up inputs for these values of the dims, `n` of them; zeros without a seed."""
        if self.inputs:
            return inputs_of(self.inputs, n, device, seed)
        return example_inputs(self.input_shape(values), self.vocabulary, n, device, seed)

    def rule(self, name: str) -> DimRule:
        """The choices of the size `name`.

        Raises:
            LayoutError: no key of `dims` covers it.
        """
        for key in reversed(list(self.dims)):
            if for_name(key, name):
                return self.dims[key]
        raise LayoutError(f"unknown axis {name!r}: the recipe offers {sorted(self.dims)}; add it there")

    def with_choices(self, choices: Mapping[str, Sequence[Number] | None]) -> Recipe:
        """A copy with other choices for some dims, by the same keys as `dims`; None fixes a dim at full size.

        Raises:
            LayoutError: choices that aren't sizes (int, 1 or more) or fractions (float, above 0 and up to 1), or a
                kind of dim that the recipe doesn't have.
        """
        dims = dict(self.dims)
        for key, values in choices.items():
            rule = self.dims[key] if key in self.dims else self._nearest(key)
            wanted = (1.0,) if values is None else tuple(values) if isinstance(values, (list, tuple)) else ()
            if not wanted or not all(_is_choice(value, rule) for value in wanted):
                raise LayoutError(
                    f"choices of {key!r}: wanted a list of sizes (int) or of fractions (float, up to 1.0), or None to "
                    f"leave it at full size; got {values!r}"
                )
            dims.pop(key, None)  # reinserted last, so that it wins
            dims[key] = replace(rule, choices=wanted)
        return replace(self, dims=dims)

    def _nearest(self, key: str) -> DimRule:
        kind = key.split(".")[0]
        if kind not in self.dims:
            cure = did_you_mean(kind, list(self.dims), f"it offers {', '.join(sorted(self.dims))}")
            raise LayoutError(f"choices of {key!r}: the recipe has no such dim; {cure}")
        return self.dims[kind]


def _is_choice(value: object, rule: DimRule) -> bool:
    if isinstance(value, float):
        return rule.ratio or 0 < value <= 1
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_FORMER_NAMES = {"traced": "discovered"}
"""Former name of a recipe, in supernets that were saved with it → its name now."""

RecipeFunction = Callable[..., Recipe]
_Function = TypeVar("_Function", bound=RecipeFunction)


class Registry:
    """Recipes by name and by model class."""

    def __init__(self) -> None:
        self._by_name: dict[str, RecipeFunction] = {}
        self._by_class: dict[str, str] = {}

    def register(self, name: str, *classes: str) -> Callable[[_Function], _Function]:
        """Register the decorated function as the recipe `name` for these classes (module:qualname).

        Classes are named rather than imported, so that a recipe doesn't import its library.
        """

        def keep(function: _Function) -> _Function:
            self._by_name[name] = function
            self._by_class.update(dict.fromkeys(classes, name))
            return function

        return keep

    def names(self) -> list[str]:
        """Every recipe's name."""
        return sorted(self._by_name)

    def by_name(self, name: str) -> RecipeFunction | None:
        """The recipe of that name; former names are known too."""
        return self._by_name.get(self.current_name(name))

    def current_name(self, name: str) -> str:
        """The name of a recipe today, if `name` is a former one; else `name`."""
        return _FORMER_NAMES.get(name, name)

    def find(self, model: nn.Module) -> str | None:
        """The name of the recipe for the model's class, or for the nearest class that it inherits from."""
        for cls in type(model).__mro__:
            name = self._by_class.get(f"{cls.__module__}:{cls.__qualname__}")
            if name is not None:
                return name
        return None


registry = Registry()
register_recipe = registry.register
