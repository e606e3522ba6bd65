"""What models of transformers say of the text that they take."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


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
