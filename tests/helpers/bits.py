"""Values that are compared bit for bit."""

import torch


def bits(value):
    """All that a value holds, tensors as bytes: what a checkpoint keeps of a training's state, for one."""
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: bits(inner) for key, inner in value.items()}
    return [bits(inner) for inner in value] if isinstance(value, list | tuple) else value
