"""Kernel transforms: small kernels of a depthwise convolution, computed from its large one by learned matrices.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020,
section 3.3: the centre of the 7×7 kernel times a 25×25 matrix is the 5×5 kernel, the centre of that times a
9×9 matrix the 3×3 kernel; one pair of matrices per layer, shared by its channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elastic.layers.gathering import gather
from elastic.layout.saved import register_code

LARGEST = 7
_STEPS = ((7, 5), (5, 3))


@register_code("kernel_transform")
@dataclass(frozen=True)
class KernelTransform:
    """Computes a depthwise convolution's active kernel from the full one; the matrices start as identities."""

    def __call__(self, tensor: Tensor, module: nn.Module) -> Tensor:
        """The kernel `(channels, 1, k, k)` for the module's active `k`, from the full `(channels, 1, K, K)`."""
        active = cast("tuple[int, int]", module.kernel_size)[0]
        if torch.compiler.is_compiling():
            return self._select(tensor, module, active)
        for large, small in _STEPS:
            if active < large == tensor.shape[-1]:
                tensor = _smaller(tensor, module, large, small)
        return tensor

    def _select(self, tensor: Tensor, module: nn.Module, active: int) -> Tensor:
        """The active kernel without a branch on its size, so that one compiled graph serves every kernel."""
        full = tensor.shape[-1]
        kernels = {full: tensor}
        for large, small in _STEPS:
            if large in kernels:
                tensor = kernels[small] = _smaller(tensor, module, large, small)
        wide = torch.stack([F.pad(kernel, [(full - side) // 2] * 4) for side, kernel in kernels.items()])
        chosen = torch.tensor(list(kernels), device=tensor.device) == active
        tensor = torch.where(chosen.view(-1, 1, 1, 1, 1), wide, 0.0).sum(0)
        window = (full, (full - active) // 2, active)
        return gather(tensor, [[], [], [window], [window]])

    def setup(self, module: nn.Module) -> None:
        """Register the matrices on `module`, one per step down from its full kernel."""
        weight = cast(Tensor, module._parameters["weight"])
        for large, small in _STEPS:
            if weight.shape[-1] >= large:
                identity = torch.eye(small * small, dtype=weight.dtype, device=weight.device)
                module.register_parameter(_matrix(large, small), nn.Parameter(identity))

    def parameter_names(self) -> tuple[str, ...]:
        """`7to5_matrix` and `5to3_matrix`."""
        return tuple(_matrix(large, small) for large, small in _STEPS)


def _smaller(kernel: Tensor, module: nn.Module, large: int, small: int) -> Tensor:
    centre = kernel[..., 1:-1, 1:-1].flatten(-2)
    matrix: Tensor = getattr(module, _matrix(large, small))
    smaller: Tensor = F.linear(centre, matrix).unflatten(-1, (small, small))
    return smaller


def _matrix(large: int, small: int) -> str:
    return f"{large}to{small}_matrix"
