"""Inputs and outputs of models: images in one tensor, or text in several; logits, bare or in a record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from elastic.support.tensors import flat, nested

USUAL_LENGTH = 128
"""Tokens of a made-up text, and of one that costs are counted on, where the model takes so many."""

BATCH_OF_SINGLE_INPUTS = (
    "a model that takes a list of single inputs, as detectors do, needs a module around it that takes a batch, and "
    "unbinds it; or make its part elastic that takes a batch: elasticize(detector.backbone, example=a tensor of images)"
)
"""The cure where the first axis of an example isn't the batch."""

Inputs = Tensor | Mapping[str, Any]
"""One tensor, its first axis the batch; or several, by the names that the model's `forward` has for them: each a
tensor, or a list, a tuple or a dict of such."""


def predict(model: nn.Module, inputs: Inputs) -> Tensor:
    """The logits of a batch: `(N, classes)`; of a language model `(N, tokens, vocabulary)`.

    Args:
        model: takes `inputs`, and returns logits, or a record with `logits` as the models of transformers do.
        inputs: images, token ids, or what a tokenizer gives.
    """
    return logits_of(run_model(model, inputs))


def predict_all(model: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """All tensors that a model returns for a batch, by name; first what `predict` gives.

    A question answering model of transformers has `start_logits` and `end_logits`; a bare tensor is called `logits`,
    and several without names by their numbers.
    """
    output = run_model(model, inputs)
    if isinstance(output, (tuple, list)):
        return {str(at): leaf for at, leaf in enumerate(tree_leaves(output)) if isinstance(leaf, Tensor)}
    if not isinstance(output, Mapping):
        return {"logits": logits_of(output)}
    found = {name: value for name, value in output.items() if isinstance(value, Tensor)}
    return {"logits": found.pop("logits"), **found} if "logits" in found else found


def run_model(model: nn.Module, inputs: Inputs) -> Any:
    """The output of `model` as it is; a mapping's tensors are passed by name."""
    return model(**inputs) if isinstance(inputs, Mapping) else model(inputs)


def logits_of(output: Any) -> Tensor:
    """The logits in a model's output; where it has a record without any, its first tensor.

    Raises:
        TypeError: there is no tensor in it.
    """
    if isinstance(output, Tensor):
        return output
    found = getattr(output, "logits", None)
    if found is None:
        found = next(iter(output.values()) if isinstance(output, Mapping) else iter(output), None)
    if not isinstance(found, Tensor):
        raise TypeError(f"the model returned a {type(output).__name__} without logits")
    return found


def batch_size(inputs: Inputs) -> int:
    """Number of inputs in a batch."""
    return len(tensors_of(inputs)[0])


def tensors_of(inputs: Inputs) -> list[Tensor]:
    """All tensors of a batch, in order."""
    return [inputs] if isinstance(inputs, Tensor) else list(flat(inputs).values())


def each(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The inputs with every tensor changed; any mapping, such as a tokenizer's record, becomes a dict."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    return nested({name: change(tensor) for name, tensor in flat(inputs).items()})


def part(inputs: Inputs, begin: int, end: int) -> Inputs:
    """The inputs `begin` to `end` (excluded) of a batch."""
    return each(inputs, lambda tensor: tensor[begin:end])


def is_text(values: Collection[Tensor]) -> bool:
    """Whether several inputs are token ids and what goes with them, token by token: any length may follow."""
    same = len({value.shape for value in values}) == 1 and all(value.ndim == 2 for value in values)
    return same and any(not value.is_floating_point() for value in values)


def first(inputs: Inputs, n: int) -> Inputs:
    """The first `n` inputs of a batch."""
    return part(inputs, 0, n)


def repeated(inputs: Inputs, times: int) -> Inputs:
    """A batch that holds these inputs `times` times."""
    return each(inputs, lambda tensor: torch.cat([tensor] * times))


def moved(inputs: Inputs, device: torch.device | str) -> Inputs:
    """The same inputs on a device."""
    return each(inputs, lambda tensor: tensor.to(device))


def example_inputs(
    shape: Sequence[int],
    vocabulary: int | None = None,
    n: int = 1,
    device: torch.device | str = "cpu",
    seed: int | None = None,
) -> Tensor:
    """Made-up inputs `(n, *shape)`: token ids (int64) where there is a vocabulary, else floats.

    Args:
        shape: of one input, without the batch axis.
        vocabulary: how many token ids there are.
        n: the batch.
        device: where; `"meta"` gives tensors without data.
        seed: of random values; zeros by default.
    """
    shape = (n, *shape)
    dtype = torch.get_default_dtype() if vocabulary is None else torch.int64
    if seed is None or str(device) == "meta":
        return torch.zeros(shape, dtype=dtype, device=device)
    generator = torch.Generator().manual_seed(seed)
    if vocabulary is None:
        return torch.randn(shape, generator=generator).to(device)
    return torch.randint(0, vocabulary, shape, generator=generator).to(device)


@dataclass(frozen=True)
class InputSpec:
    """One tensor that goes into a model, as data: enough to make one up.

    Attributes:
        shape: of one input, without the batch axis.
        dtype: such as `float32` or `int64`.
        name: of the argument of `forward`, and the place inside it as `elastic.support.tensors.flat` writes it; empty
            for the only one, which is passed by position.
        below: integers are at least 0 and below this.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    name: str = ""
    below: int = 2

    def make(self, n: int, generator: torch.Generator | None) -> Tensor:
        """A batch of `n` on the CPU: zeros, or random with a generator."""
        shape, dtype = (n, *self.shape), getattr(torch, self.dtype)
        if generator is None:
            return torch.zeros(shape, dtype=dtype)
        if dtype.is_floating_point or dtype.is_complex:
            return torch.randn(shape, generator=generator).to(dtype)
        return torch.randint(0, self.below, shape, generator=generator).to(dtype)


def describe_inputs(model: nn.Module, example: Any) -> tuple[InputSpec, ...]:
    """What goes into a model, described by an example of it.

    Args:
        model: takes the example.
        example: a tensor, a tuple by position, or a mapping by the names of the arguments of `forward`. Each argument
            is a tensor, or a list, a tuple or a dict of such; the first axis of each tensor is the batch.

    Raises:
        TypeError: something else, or a tuple for a model whose arguments have no names.
    """
    if isinstance(example, Tensor):
        return (_spec("", example),)
    if isinstance(example, tuple):
        kinds = (Parameter.POSITIONAL_OR_KEYWORD,)
        names = [name for name, one in signature(model.forward).parameters.items() if one.kind in kinds]
        if len(names) < len(example):
            raise TypeError(f"{len(example)} inputs for a forward that names {len(names)}; give them as a dict by name")
        example = dict(zip(names, example, strict=False))
    if not isinstance(example, Mapping) or not example:
        raise TypeError(
            "wanted a tensor, a tuple of tensors or a dict of tensors by name (an argument that is a list of tensors "
            f"goes into a tuple: ([a, b],)), got {_described(example)}; {BATCH_OF_SINGLE_INPUTS}"
        )
    leaves = flat(example)
    other = next((name for name, one in leaves.items() if not isinstance(one, Tensor)), None)
    if other is not None:
        raise TypeError(
            f"wanted tensors only, got {_described(leaves[other])} as {other}: leave out what has a default"
        )
    if len({len(one) if one.ndim else 0 for one in leaves.values()}) != 1:
        raise TypeError(
            f"the first axis of each input is the batch, and these have several lengths of it; {BATCH_OF_SINGLE_INPUTS}"
        )
    return tuple(_spec(name, one) for name, one in leaves.items())


def _described(value: Any) -> str:
    return f"a {type(value).__name__} of {len(value)}" if isinstance(value, (list, tuple, dict)) else f"{value!r:.80}"


def _spec(name: str, example: Tensor) -> InputSpec:
    if not example.ndim or not example.numel():
        raise TypeError(f"wanted inputs with a batch axis, got a tensor of shape {tuple(example.shape)}")
    whole = not example.is_floating_point() and not example.is_complex() and not example.is_meta
    below = max(int(example.max()) + 1, 1 if example.dtype == torch.bool else 2) if whole else 2
    return InputSpec(tuple(example.shape[1:]), str(example.dtype).removeprefix("torch."), name, below)


def inputs_of(
    specs: Sequence[InputSpec], n: int = 1, device: torch.device | str = "cpu", seed: int | None = None
) -> Inputs:
    """Made-up inputs as described: one tensor, or several by name, nested as they were; zeros without a seed."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    made = {spec.name: spec.make(n, generator).to(device) for spec in specs}
    return made[""] if list(made) == [""] else nested(made)
