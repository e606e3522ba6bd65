"""What goes into a model and what comes out: images in one tensor, or text in several; logits, bare or in a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from elastic.sizes import Number

if TYPE_CHECKING:
    from elastic.supernet import Supernet

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
    return logits_of(_output(model, inputs))


def predict_all(model: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """All tensors that a model returns for a batch, by name; first what `predict` gives.

    A question answering model of transformers has `start_logits` and `end_logits`; a bare tensor is called `logits`,
    and several without names by their numbers.
    """
    output = _output(model, inputs)
    if isinstance(output, (tuple, list)):
        return {str(at): leaf for at, leaf in enumerate(tree_leaves(output)) if isinstance(leaf, Tensor)}
    if not isinstance(output, Mapping):
        return {"logits": logits_of(output)}
    found = {name: value for name, value in output.items() if isinstance(value, Tensor)}
    return {"logits": found.pop("logits"), **found} if "logits" in found else found


def _output(model: nn.Module, inputs: Inputs) -> Any:
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
    """How many inputs a batch holds."""
    return len(inputs if isinstance(inputs, Tensor) else next(iter(inputs.values())))


def first(inputs: Inputs, n: int) -> Inputs:
    """The first `n` inputs of a batch."""
    if isinstance(inputs, Tensor):
        return inputs[:n]
    return {name: tensor[:n] for name, tensor in inputs.items()}


def repeated(inputs: Inputs, times: int) -> Inputs:
    """The batch behind itself, as often."""
    if isinstance(inputs, Tensor):
        return torch.cat([inputs] * times)
    return {name: torch.cat([tensor] * times) for name, tensor in inputs.items()}


def moved(inputs: Inputs, device: torch.device | str) -> Inputs:
    """The same inputs on a device."""
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def classes_of(model: nn.Module) -> int:
    """How many classes a model tells apart: timm's `num_classes`, transformers' `config.num_labels`.

    Raises:
        AttributeError: the model says neither.
    """
    config = getattr(model, "config", None)
    return int(getattr(config, "num_labels", None) or model.num_classes)  # type: ignore[arg-type]


def longest_text(model: nn.Module) -> int | None:
    """How many tokens a model of transformers can tell the places of; None for other models, and without a limit."""
    limit: int | None = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    limit = limit if limit and limit > 0 else None  # XLNet says -1
    tables = [one for name, one in model.named_modules() if name.endswith("position_embeddings")]
    # RoBERTa's family counts places from behind the padding's
    padding = max((one.padding_idx + 1 for one in tables if getattr(one, "padding_idx", None) is not None), default=0)
    return None if limit is None else limit - int(padding)


def example_text(config: Any, length: int, n: int = 2) -> dict[str, Tensor]:
    """Made-up text for a model of transformers: its configuration says how many ids there are, and its families.

    Returns:
        `input_ids` and `attention_mask`, int64 `(n, length)`, the first text padded; `token_type_ids` for BERT.
    """
    generator = torch.Generator().manual_seed(0)
    text = {"input_ids": torch.randint(0, config.vocab_size, (n, length), generator=generator)}
    if getattr(config, "pad_token_id", None) is not None:  # would be taken for padding
        text["input_ids"][text["input_ids"] == config.pad_token_id] = (config.pad_token_id + 1) % config.vocab_size
    text["attention_mask"] = torch.ones_like(text["input_ids"])
    text["attention_mask"][0, length // 2 + 1 :] = 0
    if getattr(config, "type_vocab_size", 1) > 1:
        text["token_type_ids"] = torch.zeros_like(text["input_ids"])
    return text


def example_inputs(
    supernet: Supernet,
    arch: Mapping[str, Number] | None = None,
    n: int = 1,
    device: torch.device | str = "cpu",
    seed: int | None = None,
) -> Tensor:
    """Made-up inputs of `arch` (the active one by default): `(n, *input_shape)`.

    Args:
        supernet: its recipe says the shape, and whether inputs are token ids.
        arch: whose resolution.
        n: the batch.
        device: where; `"meta"` gives tensors without data.
        seed: of random values; zeros by default.
    """
    shape, vocabulary = (n, *supernet.input_shape(arch)), supernet.recipe.vocabulary
    dtype = torch.get_default_dtype() if vocabulary is None else torch.int64
    if seed is None or str(device) == "meta":
        return torch.zeros(shape, dtype=dtype, device=device)
    generator = torch.Generator().manual_seed(seed)
    if vocabulary is None:
        return torch.randn(shape, generator=generator).to(device)
    return torch.randint(0, vocabulary, shape, generator=generator).to(device)
