"""A recipe: a family's layout, and how its sizes are offered. The registry finds the one for a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from torch import nn

from elastic.errors import LayoutError
from elastic.space.sizes import Derived, DimRule, Number, for_name

if TYPE_CHECKING:
    from elastic.layers.rules import Transform


@dataclass(frozen=True)
class Recipe:
    """What makes a model elastic, as data.

    Attributes:
        layout: entries in the layout notation (see `elastic.layout.notation`).
        dims: how each kind of size is offered; the key is a size's first name part (`heads` for `heads.3`),
            its whole name, or a glob pattern. Later keys win over earlier ones.
        derived: sizes that follow from others, by name.
        transforms: by layout entry, what makes a tensor that slicing alone can't.
        resolution: side of the square input in pixels, for image models.
        input_size: shape of one input, without the batch axis; costs are counted for it.
        notes: what stays as it is, and why, for `elastic inspect`.
        lengths: by module path, the size that its operators run along where none of its tensors has it (ECA's
            convolution over channels): its multiply-accumulates are proportional to that, too.
        products: by module path, the sizes that the multiply-accumulates of each of its matrix products and
            convolutions are proportional to, in order; by default those of its weight, or its numbers.
        couple: dims that follow another's choice, follower → leader (see `elastic.space.coupling`).
        width_scaling: whether weights make up for the inputs that a narrow subnet lacks (see `elastic.layout.scaling`).
        vocabulary: of a model that reads token ids, how many there are; None: its inputs are floats.
        settle: called with each extracted model, to restate what no layout entry reaches (its configuration).
        name: the registered recipe's; empty for a recipe that was written by hand.
    """

    layout: Mapping[str, str]
    dims: Mapping[str, DimRule]
    derived: Mapping[str, Derived] = field(default_factory=dict)
    transforms: Mapping[str, Transform] = field(default_factory=dict)
    resolution: int | None = None
    input_size: tuple[int, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    lengths: Mapping[str, str] = field(default_factory=dict)
    products: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    couple: Mapping[str, str] = field(default_factory=dict)
    width_scaling: bool = False
    vocabulary: int | None = None
    settle: Callable[[nn.Module], None] | None = None
    name: str = ""

    def input_shape(self, values: Mapping[str, Number]) -> tuple[int, ...]:
        """Shape of one input where the dims have these values, without the batch axis."""
        side = values.get("resolution")
        return self.input_size if side is None else (*self.input_size[:-2], int(side), int(side))

    def rule(self, name: str) -> DimRule:
        """How the size `name` is offered.

        Raises:
            LayoutError: no key of `dims` covers it.
        """
        for key in reversed(list(self.dims)):
            if for_name(key, name):
                return self.dims[key]
        raise LayoutError(f"unknown axis {name!r}: the recipe offers {sorted(self.dims)}; add it there")

    def with_choices(self, choices: Mapping[str, Sequence[Number] | None]) -> Recipe:
        """The recipe with other choices for some dims, by the same keys as `dims`; None leaves a dim at full size.

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
            raise LayoutError(f"choices of {key!r}: the recipe has no such dim; it offers {sorted(self.dims)}")
        return self.dims[kind]


def _is_choice(value: object, rule: DimRule) -> bool:
    if isinstance(value, float):
        return rule.ratio or 0 < value <= 1
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


RecipeFunction = Callable[..., Recipe]
_Function = TypeVar("_Function", bound=RecipeFunction)


class Registry:
    """Recipes by name, and the classes of the models that they are for."""

    def __init__(self) -> None:
        self._by_name: dict[str, RecipeFunction] = {}
        self._by_class: dict[str, str] = {}

    def register(self, name: str, *classes: str) -> Callable[[_Function], _Function]:
        """Register a recipe function under `name`, for models of these classes (module:qualname).

        Classes are named, not imported, so that a recipe costs nothing until its library is used.
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
        """The recipe of that name."""
        return self._by_name.get(name)

    def find(self, model: nn.Module) -> str | None:
        """The name of the recipe for this model: its class decides, or the nearest class that it inherits from."""
        for cls in type(model).__mro__:
            name = self._by_class.get(f"{cls.__module__}:{cls.__qualname__}")
            if name is not None:
                return name
        return None


registry = Registry()
register_recipe = registry.register


