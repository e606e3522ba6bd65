"""Dropout and drop-path, switched off for the subnets that have no capacity to spare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

# of timm's DropPath, timm's models, timm's PatchDropout, transformers' attention
_RATES = ("drop_prob", "drop_rate", "prob", "dropout_prob")


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Within the block, every dropout and drop-path rate of `model` is 0; the modules stay in training mode."""
    rates = [(module, name, rate) for module in model.modules() for name, rate in _rates(module)]
    try:
        for module, name, _ in rates:
            setattr(module, name, 0.0)
        yield
    finally:
        for module, name, rate in rates:
            setattr(module, name, rate)


def _rates(module: nn.Module) -> Iterator[tuple[str, float]]:
    for name in ("p",) if isinstance(module, _DropoutNd) else _RATES:
        rate = module.__dict__.get(name)
        if isinstance(rate, float) and rate > 0:
            yield name, rate
