"""Kernel transforms: the small kernels of a depthwise convolution, learned from its large one.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020,
section 3.3: the centre of the 7×7 kernel times a 25×25 matrix is the 5×5 kernel, the centre of that times a
9×9 matrix the 3×3 kernel; one pair of matrices per layer, shared by its channels.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST = 7
_STEPS = ((7, 5), (5, 3))


class KernelTransform:
    """Makes a depthwise convolution's active kernel out of the full one; the matrices begin as identities."""

    def __call__(self, tensor: Tensor, module: nn.Module) -> Tensor:
        """The kernel `(channels, 1, k, k)` for the module's active `k`, from the full `(channels, 1, K, K)`."""
        active = cast("tuple[int, int]", module.kernel_size)[0]
        for large, small in _STEPS:
            if active < large == tensor.shape[-1]:
                centre = tensor[..., 1:-1, 1:-1].flatten(-2)
                tensor = F.linear(centre, getattr(module, _matrix(large, small))).unflatten(-1, (small, small))
        return tensor

    def setup(self, module: nn.Module) -> None:
        """Register the matrices on `module`, for every step down from its full kernel."""
        weight = cast(Tensor, module._parameters["weight"])
        for large, small in _STEPS:
            if weight.shape[-1] >= large:
                identity = torch.eye(small * small, dtype=weight.dtype, device=weight.device)
                module.register_parameter(_matrix(large, small), nn.Parameter(identity))

    def parameter_names(self) -> tuple[str, ...]:
        """`7to5_matrix` and `5to3_matrix`."""
        return tuple(_matrix(large, small) for large, small in _STEPS)


def _matrix(large: int, small: int) -> str:
    return f"{large}to{small}_matrix"
