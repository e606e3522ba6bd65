"""What is known of timm: how its models say what they take."""

from __future__ import annotations

from typing import Any


def input_size(model: Any, default: tuple[int, int, int] = (3, 224, 224)) -> tuple[int, int, int]:
    """The (channels, height, width) that a timm model was configured for; `in_chans` overrides its channels."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    _, height, width = config.get("input_size") or default
    return int(getattr(model, "in_chans", 3)), int(height), int(width)
