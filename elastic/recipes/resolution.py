"""Resolution: a dim of every image supernet, applied by resizing the batch."""

from __future__ import annotations

from collections.abc import Sequence

from elastic.sizes import DimRule


def resolution_rule(side: int, stride: int, resolutions: Sequence[int] | None = None) -> DimRule:
    """The resolutions on offer: those given, else four from 4/7 of `side` up (224: 128, 160, 192, 224).

    Args:
        side: the full resolution in pixels.
        stride: resolutions are multiples of it.
        resolutions: sides in pixels to offer instead.
    """
    choices = tuple(resolutions) if resolutions is not None else (4 / 7, 5 / 7, 6 / 7, 1.0)
    return DimRule(choices, multiple=stride, keep="transform", counted=False)
