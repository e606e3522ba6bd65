"""Shared by tests and conformance: models with random weights throughout."""

from __future__ import annotations

import torch
from torch import nn


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in evaluation mode, all its weights and running statistics drawn at random, outputs of a usual size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.parameters():
            centre, scale = (1.0, 0.2) if tensor.ndim == 1 else (0.0, max(tensor[0].numel(), 1) ** -0.5)
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * scale + centre)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.2)
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model.eval()
