"""Inputs and outputs of models: images in one tensor, or text in several; logits, bare or in a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

USUAL_LENGTH = 128
"""Tokens of a made-up text, and of one that costs are counted on, where the model takes so many."""

Inputs = Tensor | Mapping[str, Tensor]
"""One tensor, its first axis the batch; or several, by the names that the model's `forward` has for them."""


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
    return len(inputs if isinstance(inputs, Tensor) else next(iter(inputs.values())))


def each(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The inputs with every tensor changed; any mapping, such as a tokenizer's record, becomes a dict."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    return {name: change(tensor) for name, tensor in inputs.items()}


def part(inputs: Inputs, begin: int, end: int) -> Inputs:
    """The inputs `begin` to `end` (excluded) of a batch."""
    return each(inputs, lambda tensor: tensor[begin:end])


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
