"""BatchNorm statistics re-estimated for one subnet, in place, pooled over batches and ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from elastic.layers.modules import write_active, writes_through
from elastic.support.inputs import run_model


def has_batchnorm(model: nn.Module) -> bool:
    """Whether a model has BatchNorm layers, whose statistics are valid for one subnet and one kind of input."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def recalibrate(model: nn.Module, batches: Iterable[Any]) -> None:
    """Set the BatchNorm statistics of `model` to those of `batches`, pooled over all of them.

    The pooled variance is E[var_b] + Var[mean_b]: the mean of the batches' variances alone misses how far their
    means lie apart. Works in place and without a copy, on an extracted subnet or on a supernet (it sets the active
    slices). Meanwhile only BatchNorm is in training mode; dropout and drop-path are off. With several processes each
    rank gives its own batches, possibly none, and all ranks end with the same statistics.

    Args:
        model: any module; nothing happens to one without BatchNorm.
        batches: inputs (a tensor, or a mapping of tensors by name), or tuples whose first entry is the input.

    Raises:
        ValueError: no batches. On any error the former statistics and modes are restored.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return
    with _estimating(model, norms) as sums:
        count = 0
        for batch in batches:
            run_model(model, batch[0] if isinstance(batch, (tuple, list)) else batch)
            count += 1
        if not _over_ranks(_statistic(norms[0]).new_tensor([count]))[0]:
            raise ValueError("recalibrate: no batches; give it some of the training inputs")
        pooled = [_reduced(one, norm) for norm, one in zip(norms, sums, strict=True)]
    for norm, one in zip(norms, pooled, strict=True):
        one.write(norm)


class _RunningSums:
    """Running sums of one BatchNorm's inputs, per channel: count, sum and sum of squares, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Tensor | None = None
        self.squares: Tensor | None = None

    def add(self, norm: _BatchNorm, images: Tensor) -> None:
        """Add one batch, whose statistics the layer has just written (its momentum is 1)."""
        assert norm.running_mean is not None
        assert norm.running_var is not None
        n = images.numel() // images.shape[1]
        if writes_through(norm, "running_mean"):
            mean, variance = norm.running_mean.double(), norm.running_var.double() * ((n - 1) / n)
        else:  # the layer wrote into a copy
            rest = [dim for dim in range(images.ndim) if dim != 1]
            variance, mean = torch.var_mean(images.double(), rest, correction=0)
        total, squares = mean * n, (variance + mean * mean) * n
        self.total = total if self.total is None else self.total + total
        self.squares = squares if self.squares is None else self.squares + squares
        self.count += n

    def write(self, norm: _BatchNorm) -> None:
        """Write the pooled statistics into the layer; a layer that didn't run keeps its own."""
        if self.total is None or self.squares is None:
            return
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean = self.total / self.count
        variance = (self.squares / self.count - mean * mean).clamp_min(0) * (self.count / max(self.count - 1, 1))
        write_active(norm, "running_mean", mean)
        write_active(norm, "running_var", variance)


def _statistic(norm: _BatchNorm) -> Tensor:
    """Zeros with the shape and device of the layer's statistics, in float64."""
    assert norm.running_mean is not None
    return torch.zeros_like(norm.running_mean, dtype=torch.float64)


def _over_ranks(sums: Tensor) -> Tensor:
    """Sum over all ranks, in place."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(sums)
    return sums


def _reduced(sums: _RunningSums, norm: _BatchNorm) -> _RunningSums:
    """The sums over all ranks; ranks on which the layer didn't run take part as well."""
    nothing = _statistic(norm)
    total, squares = (nothing if one is None else one for one in (sums.total, sums.squares))
    packed = _over_ranks(torch.cat([nothing.new_tensor([sums.count]), total, squares]))
    pooled = _RunningSums()
    pooled.count = int(packed[0])
    if pooled.count:
        pooled.total, pooled.squares = packed[1:].chunk(2)
    return pooled


@contextmanager
def _estimating(model: nn.Module, norms: list[_BatchNorm]) -> Iterator[list[_RunningSums]]:
    """Normalise by batch statistics and sum them up within the block; restore everything after it."""
    sums = [_RunningSums() for _ in norms]
    modes = [(module, module.training) for module in model.modules()]
    former = [(norm, norm.momentum, _state(norm)) for norm in norms]
    hooks = [norm.register_forward_hook(_adder(one)) for norm, one in zip(norms, sums, strict=True)]
    try:
        with torch.no_grad():
            for module, _ in modes:
                module.training = isinstance(module, _BatchNorm)
            for norm in norms:
                norm.momentum = 1.0
            yield sums
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
        for norm, momentum, state in former:
            norm.momentum = momentum
            for name, tensor in state.items():
                norm._buffers[name].copy_(tensor)  # type: ignore[union-attr]


def _state(norm: _BatchNorm) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in norm._buffers.items() if tensor is not None}


def _adder(sums: _RunningSums) -> Any:
    def add(norm: _BatchNorm, args: tuple[Tensor, ...], out: Tensor) -> None:
        sums.add(norm, args[0])

    return add
