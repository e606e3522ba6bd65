"""Compiled blocks: one graph for all widths, and the results of eager mode."""

import copy
from collections import Counter

import pytest
import torch
from examples import mostly_swept, tenth
from hypothesis import given
from hypothesis import strategies as st
from small import mobilenet, vit
from torch import nn

import elastic
from elastic import DimRule, Recipe
from elastic.layers.gathering import gather
from elastic.layers.modules import upstream_class
from elastic.supernet.compiling import blocks_of, compiled

SHORT = [["ds_r1_k3_s2_c16"], ["ir_r2_k5_s1_e2_c16_se0.25"]]  # two blocks of a kind, with all that a block can have
FAMILIES = {
    "vit": (vit, 4),
    "short mobilenet": (lambda: mobilenet(SHORT), None),
    "mobilenet": (mobilenet, None),
    "mobilenet with matrices": (lambda: mobilenet(kernel_transforms=True), None),
}


def kinds(supernet):
    """Blocks that differ in more than their widths: in classes, strides and the largest kernel."""
    fixed = ("stride", "kernel_size", "padding", "has_skip", "training")

    def numbers(module):
        return [(name, module.__dict__[name]) for name in fixed if name in module.__dict__]

    described = [
        tuple((path, upstream_class(m).__name__, str(numbers(m))) for path, m in block.named_modules())
        for block in blocks_of(supernet)
    ]
    return len(Counter(described))


def results(supernet, images):
    """The output, the gradients and the running statistics of one pass; the statistics are put back."""
    before = copy.deepcopy(supernet.state_dict())
    supernet.zero_grad()
    output = supernet(images)
    output.square().sum().backward()
    gradients = {name: p.grad.clone() for name, p in supernet.named_parameters() if p.grad is not None}
    buffers = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    supernet.load_state_dict(before)
    return output.detach(), gradients, buffers


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # PyTorch looks at its own tensors' while it traces
@pytest.mark.parametrize("family", mostly_swept(FAMILIES, ["vit", "short mobilenet"]))
def test_a_graph_serves_every_width(family):
    make, most = FAMILIES[family]
    supernet, graphs = make().train(), []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for arch in [supernet.space.largest, supernet.space.smallest, *supernet.space.sample(0, 2 * tenth())]:
        with supernet.active(arch):
            eager = results(supernet, images)
            with compiled(supernet, count):
                ours = results(supernet, images)
        assert torch.equal(ours[0], eager[0])
        assert ours[1].keys() >= eager[1].keys()
        for name, gradient in ours[1].items():  # a matrix that isn't used has a gradient of zero
            torch.testing.assert_close(gradient, eager[1].get(name, torch.zeros_like(gradient)))
        torch.testing.assert_close(ours[2], eager[2])
    assert 0 < len(graphs) <= (most or 2 * kinds(supernet))
    assert not torch._dynamo.utils.counters["graph_break"], "something fell back to eager mode"


def test_extracts_and_copies_of_a_compiled_supernet_are_plain():
    supernet = vit()
    with compiled(supernet, "eager"):
        subnet, twin = supernet.extract(supernet.space.smallest), copy.deepcopy(supernet.model)
        assert supernet.model.blocks[0]._compiled_call_impl is not None
    for model in (subnet, twin, supernet.model):
        assert all(module._compiled_call_impl is None for module in model.modules())


def test_a_model_without_depth_is_compiled_whole():
    supernet = elastic.elasticize(nn.Sequential(nn.Linear(4, 8)), Recipe({"0": "width 4"}, {"width": DimRule()}))
    assert blocks_of(supernet) == [supernet.model]


FACTORS = st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 2))  # active, left out before, behind


@given(st.lists(st.lists(FACTORS, max_size=3), min_size=1, max_size=3))
def test_gathering_is_slicing(axes):
    """Values and gradients, on integers: nothing is rounded."""
    windows = [[(before + active + behind, before, active) for active, before, behind in axis] for axis in axes]
    split = [full for axis in windows for full, _, _ in axis or [(2, 0, 2)]]
    shape = [torch.Size(full for full, _, _ in axis).numel() if axis else 2 for axis in windows]
    stored = torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape).requires_grad_()
    slices = tuple(slice(start, start + active) for axis in windows for _, start, active in axis or [(2, 0, 2)])
    active = [torch.Size(n for _, _, n in axis).numel() if axis else 2 for axis in windows]
    sliced, gathered = stored.reshape(split)[slices].reshape(active), gather(stored, windows)
    assert torch.equal(gathered, sliced)
    factor = torch.arange(1.0, sliced.numel() + 1, dtype=torch.float64).reshape(active)
    wanted, given_ = (torch.autograd.grad((part * factor).sum(), stored)[0] for part in (sliced, gathered))
    assert torch.equal(given_, wanted)
