"""Kernel transforms against the paper's recipe written out by hand."""

import torch
from torch import nn

import elastic
from elastic import DimRule, Recipe
from elastic.recipes.kernels import KernelTransform


def reference(weight: torch.Tensor, conv: nn.Module, side: int) -> torch.Tensor:
    """Channel by channel: cut the centre, multiply by the matrix, and again."""
    kernels = []
    for kernel in weight[:, 0]:
        for large, small in ((7, 5), (5, 3)):
            if kernel.shape[0] == large and side < large:
                centre = kernel[1:-1, 1:-1].reshape(-1)
                kernel = (getattr(conv, f"{large}to{small}_matrix") @ centre).reshape(small, small)
        kernels.append(kernel[None])
    return torch.stack(kernels)


def convolution(full: int) -> elastic.Supernet:
    model = nn.Sequential(nn.Conv2d(4, 4, full, padding=full // 2, groups=4, bias=False))
    dims = {"width": DimRule((0.5, 1.0)), "kernel": DimRule((3, 5, 7), keep="transform")}
    layout = {"0": "width 1 kernel kernel"}
    return elastic.elasticize(model, Recipe(layout, dims, transforms={"0": KernelTransform()}))


def test_small_kernels_are_the_matrices_products():
    for full in (3, 5, 7):
        made = convolution(full)
        conv = made.model[0]
        stored = conv.weight.detach().clone()
        assert torch.equal(conv.weight, stored)
        for side in range(3, full, 2):
            made.activate(made.space.variant({"kernel": side, "width": 2}))
            start = (full - side) // 2
            centre = stored[:2, :, start : start + side, start : start + side]
            torch.testing.assert_close(conv.weight, centre, rtol=0, atol=0)  # identities at first
        for name, parameter in conv.named_parameters():
            if name != "weight":
                nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
        for side in range(3, full, 2):
            made.activate(made.space.variant({"kernel": side, "width": 2}))
            torch.testing.assert_close(conv.weight, reference(stored[:2], conv, side))
            subnet = made.extract(made.arch)
            assert list(subnet.state_dict()) == ["0.weight"]
            assert torch.equal(subnet[0].weight, conv.weight)


def test_only_the_steps_below_the_full_kernel_have_matrices():
    names = {full: {n for n, _ in convolution(full).model[0].named_parameters()} for full in (3, 5, 7)}
    assert names == {3: {"weight"}, 5: {"weight", "5to3_matrix"}, 7: {"weight", "7to5_matrix", "5to3_matrix"}}
