"""The moving average of a supernet's weights."""

from __future__ import annotations

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from elastic import Supernet


def make_average(supernet: Supernet, decay: float | None) -> AveragedModel | None:
    """A copy of the supernet that holds the exponential moving average of its weights; None without a decay."""
    return None if decay is None else AveragedModel(supernet, multi_avg_fn=get_ema_multi_avg_fn(decay))


def averaged(supernet: Supernet, average: AveragedModel | None) -> Supernet:
    """The supernet with averaged weights, where they are averaged; else the supernet itself."""
    if average is None:
        return supernet
    module = average.module
    assert isinstance(module, Supernet)
    return module
