"""Building a supernet from a description that fits into a file: a name, and what is to be elastic.

The name is a timm model's, that of a supernet which a package such as the zoo offers (see
`elastic.supernet.registry`), or, behind
`transformers:`, that of a model of transformers (see `elastic.upstream.building`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from torch import nn

from elastic.errors import CheckpointError, RecipeError
from elastic.layout.recipe import Recipe
from elastic.layout.saved import describe_recipe, read_recipe
from elastic.space.sizes import Number
from elastic.supernet.elasticize import elasticize
from elastic.supernet.registry import NamedSupernet, find_supernet, supernet_names
from elastic.supernet.subnet_folder import load_subnet_weights, read_subnet_config
from elastic.supernet.supernet import Supernet
from elastic.support.records import from_plain
from elastic.upstream.building import build_model
from elastic.upstream.input_normalization import normalize_inputs
from elastic.upstream.saved_arguments import read_arguments, saved_arguments, self_contained


@dataclass(frozen=True)
class SupernetSource:
    """Description of a supernet from which it can be rebuilt, without its weights.

    Attributes:
        model: a model's name, as for `timm.create_model`; a supernet's, as for `zoo.create`; or `transformers:bert`.
        model_args: keyword arguments of either, such as `num_classes` or `pretrained`; of transformers' models fields
            of their configuration, such as `num_labels`.
        recipe: the recipe's name; found by the model's class by default. A supernet has its own.
        choices: what to offer instead of the recipe's choices (see `elastic.elasticize`).
        options: the recipe's own options, such as `kernel_transforms` or `resolutions`.
        input_size: (channels, height, width) of the full-size input; the timm model's own by default.
        couple: dims that follow another's choice, such as `{"mid": "depth"}` (see `elastic.elasticize`).
        width_scaling: multiply weights by √(full inputs / active inputs) (see `elastic.elasticize`).
        arch: one subnet alone, cut out of it, to be trained further; it has nothing elastic left.
        normalize: {mean, std} of images with values between 0 and 1, a number per channel each: the model normalises
            its inputs itself (see `elastic.upstream.input_normalization`), as training under attack wants it.
        subnet: a folder that `elastic extract` wrote: the subnet `arch` begins with its weights.
        layout: what is elastic, written out when a supernet was saved (see `elastic.layout.saved`). It takes the place
            of `recipe`, `choices`, `options`, `couple` and `width_scaling`: neither a recipe nor discovery runs again.
    """

    model: str
    model_args: dict[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    choices: dict[str, list[Number] | None] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    input_size: list[int] | None = None
    couple: dict[str, str] = field(default_factory=dict)
    width_scaling: bool = False
    arch: dict[str, Number] | None = None
    subnet: str | None = None
    normalize: dict[str, list[float]] | None = None
    layout: dict[str, Any] | None = None

    def build(self) -> Supernet:
        """The supernet, with fresh weights or, where `model_args` says `pretrained`, upstream's.

        Raises:
            RecipeError: as for `build_model`, or there is no recipe for the model, or it can't normalise its inputs.
            LayoutError: the recipe doesn't fit the model, or dims that can't be coupled.
            ArchError: `arch` isn't in the search space.
            CheckpointError: the folder `subnet` holds no such subnet, a supernet's weights can't be had, or `layout`
                can't be read.
        """
        self._check_input_size()
        named = find_supernet(self.model)
        supernet = self._of_named(named) if named is not None else self._of_model()
        return supernet if self.arch is None else self._alone(supernet, self.arch)

    def _of_model(self) -> Supernet:
        model, saved = self._plain_model(), self._saved_layout()
        if saved is not None:
            return elasticize(model, read_recipe(saved), check=False)
        return elasticize(model, self.recipe, self.choices or None, self.couple, self.width_scaling, **self.options)

    def _of_named(self, named: NamedSupernet) -> Supernet:
        if self.recipe is not None:
            raise RecipeError(f"{self.model} has a recipe of its own; leave recipe out, which is {self.recipe!r}")
        options = {**self.model_args, **self.options}
        pretrained = options.pop("pretrained", False)
        if self.input_size is not None:
            options["input_size"] = tuple(self.input_size)
        model, recipe = named.build(**options)
        if self.normalize is not None:
            normalize_inputs(model, self.normalize)
        saved = self._saved_layout()
        if saved is not None:
            supernet = elasticize(model, read_recipe(saved), check=False)
        else:
            supernet = elasticize(model, recipe, self.choices or None, self.couple, self.width_scaling, check=False)
        if pretrained:
            named.load(supernet)
        return supernet

    def _alone(self, supernet: Supernet, arch: Mapping[str, Number]) -> Supernet:
        """A subnet as a supernet of one."""
        shape = supernet.input_shape(supernet.space.arch(arch))
        model = supernet.extract(arch)
        if self.subnet is not None:
            load_subnet_weights(model, self.subnet)
        return elasticize(model, Recipe({}, {}, input_size=shape, vocabulary=supernet.recipe.vocabulary), check=False)

    def build_model(self) -> nn.Module:
        """The ordinary model; of a named supernet, its largest subnet; with `arch`, that subnet.

        Raises:
            RecipeError: there is no model of that name or pretrained tag, or it doesn't take `model_args`.
        """
        if find_supernet(self.model) is None and self.arch is None:
            self._check_input_size()
            return self._plain_model()
        supernet = self.build()
        return supernet.extract(supernet.space.largest)

    def _check_input_size(self) -> None:
        size = self.input_size
        if size is not None and (len(size) != 3 or min(size) < 1):
            raise RecipeError(
                f"{self.model}: input_size is channels, height and width of an image, such as [3, 224, 224]; got {size}"
            )

    def _plain_model(self) -> nn.Module:
        return build_model(self.model, self.model_args, self.input_size, self.normalize, supernet_names())

    def _saved_layout(self) -> dict[str, Any] | None:
        """The layout, written out; that of the supernet which `subnet` was cut out of, where none is given."""
        if self.layout is not None or self.subnet is None:
            return self.layout
        layout: dict[str, Any] | None = (read_subnet_config(self.subnet).get("source") or {}).get("layout")
        return layout

    def to_save(self, supernet: Supernet) -> SupernetSource:
        """The same source without weights, and with the layout of `supernet`, which was built from it."""
        found = self._saved_layout()
        if found is None and self.arch is None:
            found = describe_recipe(supernet.recipe)
        model, args = self_contained(self.model, self.model_args)
        return replace(self, model=model, model_args=args, subnet=None, layout=found)

    def untrained(self) -> SupernetSource:
        """The same source, downloading and loading no weights: its own are about to be loaded."""
        return replace(self, model_args=saved_arguments(self.model_args), subnet=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def of_subnet(cls, folder: str | Path, config: Mapping[str, Any] | None = None) -> SupernetSource:
        """The source of the subnet in a folder that `elastic extract` wrote, to be trained further.

        Args:
            folder: what was written.
            config: what `read_subnet_config` read there; it is read by default.

        Raises:
            CheckpointError: the folder holds no subnet that says what it was made from.
        """
        config = read_subnet_config(folder) if config is None else config
        if config.get("source") is None or config.get("arch") is None:
            raise CheckpointError(f"the subnet in {folder} doesn't say what it was cut out of; extract it again")
        source = cls.from_dict(config["source"])
        # a subnet that has been trained further is cut out of itself, whole
        return replace(source, arch=source.arch or config["arch"], subnet=str(folder))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SupernetSource:
        """Read the result of `to_dict` from an untrusted file: plain data, without weights.

        Raises:
            CheckpointError: the model's name is missing, there are keys that a source doesn't have, a value of another
                type, or one that names code, a file or an address.
        """
        known = {one.name for one in fields(cls)}
        if not isinstance(values, Mapping) or "model" not in values or set(values) - known:
            raise CheckpointError(f"a supernet's source has {sorted(known)}, got {values!r:.120}")
        try:
            source = from_plain(values, cls)
        except ValueError as error:
            raise CheckpointError(f"a supernet's source is broken: {error}; it was altered") from error
        args = read_arguments(source.model, source.model_args)
        return replace(source, model_args=args, options=read_arguments("", source.options), subnet=None)
