"""BatchNorm over the batches of all ranks, for modules of any kind: elastic ones stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from trainers.steps.gradients import world_size


@contextmanager
def synced_batchnorm() -> Iterator[None]:
    """Within the block, BatchNorm in training mode normalises by the statistics of the batches of all ranks.

    `torch.nn.SyncBatchNorm` takes the place of modules, which would cost elastic layers their slices, and refuses
    the CPU. Here `torch.nn.functional.batch_norm`, where every BatchNorm module ends, is answered instead: outputs,
    gradients and running statistics are those of one process on the whole batch. Ranks may have batches of unequal
    sizes, though none of size 0. One collective in the forward pass, one in the backward pass; every rank must run
    the same layers in the same order. With one rank the block changes nothing.

    A forward pass that is repeated in the backward pass (activation checkpointing) needs the block around both.
    """
    if world_size() == 1:
        yield
        return
    with _SyncedBatchNorm():
        yield


class _SyncedBatchNorm(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (_batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.batch_norm`; in training, of the whole batch."""
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    mean, var, count = _statistics(x.detach())
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((var * (count / (count - 1))).to(running_var), momentum)
    weight = torch.ones_like(mean) if weight is None else weight.to(mean)
    bias = torch.zeros_like(mean) if bias is None else bias.to(mean)
    weight, bias = _ThroughStatistics.apply(x, weight, bias, mean, torch.rsqrt(var + eps), count)
    return F.batch_norm(x, mean, var, weight, bias, eps=eps)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance of `x` `(N, C, ...)` over all ranks, each `(C,)`, and the count, a scalar.

    float64 for float64, else float32. Pooled from each rank's own mean and variance: sums of squares would cancel.
    """
    wide = x if x.dtype == torch.float64 else x.float()
    var, mean = torch.var_mean(wide, _all_but_channels(x), correction=0)
    own = torch.cat([mean, var, mean.new_full((1,), x.numel() // x.shape[1])])
    gathered = [torch.empty_like(own) for _ in range(world_size())]
    distributed.all_gather(gathered, own)
    means, variances, counts = torch.stack(gathered).split([len(mean), len(mean), 1], dim=1)
    count = counts.sum()
    mean = (means * counts).sum(0) / count
    var = ((variances + (means - mean).square()) * counts).sum(0) / count
    return mean, var, count


class _ThroughStatistics(torch.autograd.Function):
    """Hands on weight and bias; its backward pass adds what reaches the input through the statistics.

    Normalising by given statistics, y = w x̂ + b with x̂ = (x − mean) / σ, torch can do, and finds Σ dy x̂ and Σ dy
    as the gradients of w and b. Summed over all ranks, these two are all that the missing part is made of:
    −w / (σ count) · (Σ dy + x̂ Σ dy x̂)  (Ioffe and Szegedy, 2015, arXiv:1502.03167).
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, invstd: Tensor, count: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight, mean, invstd, count)
        return weight.clone(), bias.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_weight: Tensor, grad_bias: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, invstd, count = ctx.saved_tensors
        sums = torch.stack([grad_weight, grad_bias])
        distributed.all_reduce(sums)
        shape = (-1, *(1,) * (x.ndim - 2))
        offset = (-weight * invstd * sums[1] / count).view(shape)
        slope = (-weight * invstd.square() * sums[0] / count).view(shape)
        grad_x = torch.addcmul(offset, x - mean.view(shape), slope).to(x.dtype)
        return grad_x, grad_weight, grad_bias, None, None, None


def _all_but_channels(x: Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if axis != 1]
