"""Comparing before promising: a supernet's subnets give, cut out, what they give in place.

Compared are values, on a copy of the model on the CPU, with tiny inputs: the full network with the original; then, for
the smallest subnet, for each kind of dim alone, and for a few mixtures, the active subnet with the extracted one (the
smallest in training mode, too, where the model runs in it); and the parameters of what is cut out with the formula.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from elastic.costs.counting import MacsCounter
from elastic.discovery.settling import Subnet, kinds_of, mixtures_of, settle, smallest_of
from elastic.errors import ElasticError, LayoutError, first_line
from elastic.layout.layout import bind
from elastic.layout.recipe import Recipe
from elastic.space.arch import Arch
from elastic.space.dims import Dim
from elastic.space.sizes import Number
from elastic.supernet.supernet import Supernet
from elastic.support.hooks import copy_placed
from elastic.support.inputs import Inputs, run_model
from elastic.support.quiet import quiet
from elastic.support.tensors import outputs_of

MOST_PARAMETERS = 50_000_000
"""Larger models aren't copied to be compared."""

_SIDES, _LENGTH = (64, 96), 16
"""Sides of images, in pixels, and tokens of a text that are tried before the full size."""

_KINDS, _MIXTURES = 6, 2
_MANY_MACS = 1_000_000_000
"""Of models that need more on their tiniest inputs only the smallest subnet and one mixture are compared."""

_TOLERANCE = 1e-3
"""Differences of rounding, as a share of the largest value: wrong slices differ by more."""


def conforming(model: nn.Module, recipe: Recipe) -> Recipe:
    """The recipe, with a discovered one's dims fixed that give something else when they are cut out.

    Nothing is compared where there is nothing to compare with: a model without data or of more than
    `MOST_PARAMETERS`, a recipe that doesn't say what goes in, or a model that doesn't run on made-up inputs.

    Args:
        model: not yet elastic; it isn't changed.
        recipe: what is to make it elastic.

    Raises:
        LayoutError: a subnet of a recipe that was written by hand differs from what is cut out, or any recipe's full
            network from the model.
    """
    with quiet(), _kept_generators():
        case = _prepare(model, recipe)
        if case is None:
            return recipe
        dims = [dim for dim in case.supernet.space.dims if dim.name != "resolution"]
        problem = case.full()
        if problem:
            raise LayoutError(f"the full network of {type(model).__name__} isn't what it was: {problem}")
        if recipe.name == "discovered":
            settled = settle(case, dims, _subnets(dims, case.heavy))
            return settled.recipe(recipe, "what is cut out differs")
        for subnet in _subnets(dims, case.heavy):
            problem = case(subnet)
            if problem:
                raise LayoutError(
                    f"this layout doesn't fit the code of {type(model).__name__}: with {subnet}, {problem}. Mend the "
                    "entries of these dims, or leave them at full size; check=False leaves this comparison out"
                )
        return recipe


def _subnets(dims: Sequence[Dim], heavy: bool) -> Iterator[Subnet]:
    if not dims:
        return iter(())
    if heavy:
        return itertools.chain([smallest_of(dims)], mixtures_of(dims, 1))
    return itertools.chain([smallest_of(dims)], kinds_of(dims, _KINDS), mixtures_of(dims, _MIXTURES))


class _Case:
    """A copy of the model, elastic, and inputs for it."""

    def __init__(self, model: nn.Module, recipe: Recipe, inputs: Inputs) -> None:
        self.inputs = inputs
        with MacsCounter() as counter:
            self.wanted = _outputs(model, inputs)
        self.heavy = counter.macs > _MANY_MACS
        self.trains = _trains(model, inputs)
        layout = bind(model, recipe)
        layout.install(model)
        self.supernet = Supernet(model, recipe, layout)
        dims = self.supernet.space.dims
        self.largest = {dim.name: dim.full for dim in dims}
        self.smallest = smallest_of([dim for dim in dims if dim.name != "resolution"])

    def full(self) -> str:
        """The problem if the full network gives something else than the model did."""
        return _difference(self.wanted, _outputs(self.supernet.model, self.inputs))

    def __call__(self, values: Mapping[str, Number]) -> str:
        try:
            with _unchanged_buffers(self.supernet.model):
                return self._compared({**self.largest, **values}, self.trains and dict(values) == self.smallest)
        except Exception as error:  # noqa: BLE001 - a model's code may raise anything
            return str(error) if isinstance(error, ElasticError) else first_line(error)

    def _compared(self, values: Mapping[str, Number], trains: bool) -> str:
        arch = self.supernet.space.arch(values)
        subnet = self.supernet.extract(arch)
        counted = sum(parameter.numel() for parameter in subnet.parameters())
        if counted != self.supernet.params(arch):
            return f"it has {counted} parameters, and {self.supernet.params(arch)} by its sizes"
        for training in (False, True) if trains else (False,):
            subnet.train(training)
            self.supernet.model.train(training)
            try:
                problem = self._same(arch, subnet)
            finally:
                self.supernet.model.eval()
            if problem:
                return f"{problem} in {'training' if training else 'evaluation'} mode"
        return ""

    def _same(self, arch: Arch, subnet: nn.Module) -> str:
        """The problem if the subnet gives something else, the full network being active, than it does in place."""
        states = torch.get_rng_state(), random.getstate()
        active = self._active(arch)
        if not self.supernet.model.training and [len(one) for one in active if one.ndim] != [
            len(one) for one in self.wanted if one.ndim
        ]:
            return "it gives another number of outputs than the full network"
        _set_states(*states)
        problem = _difference(active, _outputs(subnet, self.inputs))
        if problem and self.supernet.model.training:
            _set_states(*states)
            if _difference(active, self._active(arch)):
                return ""  # nor does it agree with itself
        return problem

    def _active(self, arch: Arch) -> list[Tensor]:
        with self.supernet.active(arch):
            return _outputs(self.supernet.model, self.inputs)


@contextmanager
def _kept_generators() -> Iterator[None]:
    """After the block the generators of random numbers are where they were."""
    states = torch.get_rng_state(), random.getstate()
    try:
        yield
    finally:
        _set_states(*states)


def _set_states(torch_state: Tensor, python_state: Any) -> None:
    torch.set_rng_state(torch_state)
    random.setstate(python_state)


@contextmanager
def _unchanged_buffers(model: nn.Module) -> Iterator[None]:
    """After the block all buffers are what they were, statistics too."""
    former = [(module, name, one) for module in model.modules() for name, one in module._buffers.items()]
    values = [None if one is None else one.clone() for _, _, one in former]
    try:
        yield
    finally:
        for (module, name, one), value in zip(former, values, strict=True):
            module._buffers[name] = one
            if one is not None and value is not None:
                one.copy_(value)


def _outputs(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    with torch.no_grad():
        found = [tensor.detach().clone() for tensor in outputs_of(run_model(model, inputs))]
    if not found:
        raise LayoutError(f"no tensor can be seen in what {type(model).__name__} returns")
    return found


def _trains(model: nn.Module, inputs: Inputs) -> bool:
    """Whether the model runs in training mode on inputs alone."""
    try:
        with _unchanged_buffers(model):
            _outputs(model.train(), inputs)
    except Exception:  # noqa: BLE001 - a model's code may raise anything
        return False
    finally:
        model.eval()
    return True


def _difference(active: Sequence[Tensor], found: Sequence[Tensor]) -> str:
    shapes = [[tuple(one.shape) for one in several] for several in (active, found)]
    if shapes[0] != shapes[1]:
        return f"it gives {shapes[1]} instead of {shapes[0]}"
    for one, other in zip(active, found, strict=True):
        if not one.is_floating_point() or torch.equal(one, other):
            continue  # ranks and indices may change with the last digit
        usual = float(one.nan_to_num(0, 0, 0).abs().max())
        if not torch.allclose(one, other, rtol=0, atol=_TOLERANCE * usual, equal_nan=True):
            return f"it differs by {float((one - other).abs().max()):.3g}, of values up to {usual:.3g},"
    return ""


# --- the copy, and its inputs ----------------------------------------------------------------------------------


def _prepare(model: nn.Module, recipe: Recipe) -> _Case | None:
    tensors = (*model.parameters(), *model.buffers())
    if any(one.is_meta for one in tensors) or sum(one.numel() for one in tensors) > MOST_PARAMETERS:
        return None
    if not recipe.input_shape({}) and not recipe.inputs:
        return None
    copied = _copy(model)
    for shape in [recipe.input_size] if recipe.inputs else _shapes(recipe.input_shape({})):
        inputs = replace(recipe, input_size=shape, resolution=None).example_inputs({}, 2, seed=0)
        try:
            _outputs(copied, inputs)
        except Exception:  # noqa: BLE001, S112 - a model's code may raise anything
            continue
        return _Case(copied, recipe, inputs)
    return None


def _shapes(full: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Shapes of one input, the tiniest first."""
    if len(full) == 3 and full[-1] == full[-2]:
        yield from ((*full[:-2], side, side) for side in _SIDES if side < full[-1])
    elif len(full) == 1 and full[0] > _LENGTH:
        yield (_LENGTH,)
    yield tuple(full)


def _copy(model: nn.Module) -> nn.Module:
    """A copy on the CPU in float32, in which no tensor is constant: ones and zeros would hide a wrong slice."""
    generator = torch.Generator().manual_seed(0)
    statistics = [buffer for name, buffer in model.named_buffers() if ".running_" in f".{name}"]
    weights = {id(tensor) for tensor in (*model.parameters(), *statistics)}

    def place(tensor: Tensor) -> Tensor:
        made = tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else None, copy=True)
        varies = made.numel() < 2 or not made.is_floating_point() or bool(made.min() < made.max())
        return made if varies or id(tensor) not in weights else torch.rand(made.shape, generator=generator) * 0.5 + 0.75

    return copy_placed(model, place)
