"""The resolution: a dim of every supernet of images, applied by resizing the batch."""

from __future__ import annotations

from collections.abc import Sequence

from elastic.errors import LayoutError
from elastic.space.sizes import DimRule


def resolution_rule(side: int, stride: int, resolutions: Sequence[int] | None = None, exact: bool = False) -> DimRule:
    """The choices of the resolution.

    Args:
        side: the full resolution in pixels.
        stride: resolutions are multiples of it.
        resolutions: sides in pixels; by default four from 4/7 of `side` upwards (for 224: 128, 160, 192, 224).
        exact: refuse a side that isn't a multiple of `stride`, because the model can't take it.

    Raises:
        LayoutError: resolutions that the model can't take.
    """
    for wanted in resolutions or ():
        if not isinstance(wanted, int) or not 0 < wanted <= side or (exact and wanted % stride):
            rule = f" and multiples of {stride}" if exact else ""
            raise LayoutError(f"resolutions: wanted sides of a square up to {side} pixels{rule} (int), got {wanted!r}")
    choices = tuple(resolutions) if resolutions is not None else (4 / 7, 5 / 7, 6 / 7, 1.0)
    return DimRule(choices, multiple=stride, keep="transform", counted=False)
