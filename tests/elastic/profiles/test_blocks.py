"""Blocks: what an arch is put together from is what runs when it is active."""

from contextlib import ExitStack

import numpy as np
import pytest
import torch
from families import CASES, supernet
from small import FAMILIES
from torch import nn

import elastic
from elastic.costs.counting import MacsCounter
from elastic.errors import ProfileError
from elastic.profiles.block_table import LatencyTable
from elastic.profiles.blocks import block_modules, build_variant, distinct_variants, find_blocks, signature

SOME = ["resnet-d", "resnext", "mobilenet-v3 with matrices", "convnext-v2", "vit with qk-norm", "regnet-y", "fbnet"]


def running(net: elastic.Supernet, arch: elastic.Arch) -> dict[str, tuple[tuple[int, ...], ...]]:
    """The blocks that run when `arch` is active, and the shapes of their inputs."""
    seen = {}
    with net.active(arch), ExitStack() as hooks, torch.no_grad():
        for path, module in block_modules(net):

            def note(_, args, path=path):
                seen[path] = tuple(tuple(one.shape[1:]) for one in args)

            hooks.callback(module.register_forward_pre_hook(note).remove)
        net(torch.randn(1, *net.input_shape(arch)))
    return seen


def narrowed(net: elastic.Supernet) -> elastic.SearchSpace:
    """The space at one resolution, with two choices a dim: few enough variants for every family."""
    kept = {dim.name: {dim.choices[0], dim.choices[-1]} for dim in net.space.dims}
    return net.space.narrow(kept | {name: {max(kept[name])} for name in kept if name == "resolution"})


@pytest.mark.parametrize("case", SOME)
def test_the_variants_of_an_arch_are_what_runs(case):
    net = supernet(case)
    space = narrowed(net)
    found = find_blocks(net, space)
    for arch in space.sample(seed=1, n=4):
        values = {dim.name: arch.get(dim.name, dim.choices[0]) for dim in space.dims}
        expected = {}
        for block in found:
            if all(gate.passes(values[gate.depth]) for gate in block.gates if gate.depth in values):
                choices = [space[name].choices for name in block.dims]
                at = (
                    np.ravel_multi_index(
                        [c.index(values[name]) for c, name in zip(choices, block.dims, strict=True)],
                        [len(c) for c in choices],
                    )
                    if block.dims
                    else 0
                )
                expected[block.path] = block.variants[at].io.shapes
        shown = running(net, arch)
        assert expected == {path: shown[path] for path in expected}
        idle = {path for path in shown if path not in expected}
        assert all(isinstance(net.model.get_submodule(path), torch.nn.Identity | torch.nn.Dropout) for path in idle)


@pytest.mark.parametrize("case", [*SOME, "senet", "vit without class token"])
def test_a_variant_is_built_and_runs_as_it_was_found(case):
    net = supernet(case)
    for variant in list(distinct_variants(find_blocks(net, narrowed(net))).values())[::5]:
        module, inputs = build_variant(net, variant, batch_size=2)
        assert [tuple(one.shape) for one in inputs] == [(2, *shape) for shape in variant.io.shapes]
        with torch.no_grad():
            output = module(*inputs)
        assert tuple(output.shape[1:]) == variant.io.output
        assert signature(module, variant.io) == variant.signature  # the same on tensors with data


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_signatures_have_equal_parameters_and_costs(family):
    net = FAMILIES[family]()
    by_signature = {}
    for block in find_blocks(net):
        for variant in block.variants:
            module, _ = build_variant(net, variant)
            shapes = [tuple(one.shape) for one in module.parameters()]
            assert by_signature.setdefault(variant.signature, shapes) == shapes


def test_equal_blocks_are_measured_once():
    net = FAMILIES["vit"]()
    found = find_blocks(net)
    blocks = [block for block in found if block.path.startswith("blocks.")]
    assert len(blocks) == 3
    assert len({block.signatures for block in blocks}) == 1
    assert set(distinct_variants(found)) == {one for block in found for one in block.signatures}


def test_dims_of_a_block():
    by_path = {block.path: block for block in find_blocks(FAMILIES["mobilenet"]())}
    assert by_path["blocks.1.1"].dims == ("kernel.1.1", "mid.1.1", "resolution", "width.1")
    assert by_path["blocks.1.1"].gates[0].depth == "depth.1"


def test_widths_that_follow_the_depth_make_a_block_depend_on_it():
    net = FAMILIES["mobilenet"](couple={"mid": "depth"})
    found = {block.path: block for block in find_blocks(net)}
    assert "depth.1" in found["blocks.1.0"].dims
    assert None in found["blocks.1.2"].variants  # a depth at which the block isn't there


def test_the_supernet_is_left_alone():
    net = FAMILIES["vit"]()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with net.active(net.space.smallest):
        for variant in distinct_variants(find_blocks(net)).values():
            build_variant(net, variant)
        assert net.arch == net.space.smallest
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_a_block_with_too_many_variants_is_refused():
    net = elastic.elasticize(
        CASES["mobilenet-v3"].model(), input_size=(3, 64, 64), resolutions=range(16, 65, 2),
        choices={"mid": list(range(8, 48, 8)), "width": [8, 16, 24], "kernel": [1, 3, 5]},
    )  # fmt: skip
    with pytest.raises(ProfileError, match=r"has \d+ variants.*fewer"):
        find_blocks(net)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x):
        return x + self.b(self.a(x))


class CalledTwice(nn.Module):
    """On other shapes each time: a module with two paths, one with one, one also in a block, one twice in a list."""

    def __init__(self):
        super().__init__()
        self.stem, self.also = nn.Linear(8, 8), nn.Linear(8, 8)
        self.fixed = nn.ModuleList([nn.Sequential(self.also, nn.Linear(8, 8))])
        self.mix = self.mixed_later = Residual()
        shared = Residual()
        self.blocks = nn.ModuleList([shared, shared, Residual()])

    def forward(self, x):
        x = self.fixed[0](self.mix(self.stem(x)))
        for at, block in enumerate(self.blocks):
            x = block(x[:, at:])
        return self.also(self.mixed_later(self.stem(x[:, ::2])))


def test_a_module_that_is_called_twice_is_two_blocks():
    layout = {"blocks.{i}.a": "h.{i} _", "blocks.{i}.b": "_ h.{i}", "mix.a": "m _", "mix.b": "_ m", "blocks": "depth"}
    dims = {name: elastic.DimRule((0.5,)) for name in ("h", "m")} | {"depth": elastic.DimRule((1, 2))}
    net = elastic.elasticize(CalledTwice(), elastic.Recipe(layout, dims, input_size=(8, 8)))
    found = find_blocks(net)
    assert [block.path for block in found] == [
        "stem", "mix", "fixed.0", "blocks.0", "blocks.0", "blocks.2", "stem", "mix", "also"
    ]  # fmt: skip
    milliseconds = {}
    for name, variant in distinct_variants(found).items():
        module, inputs = build_variant(net, variant)
        milliseconds[name] = counted(module, *inputs)
    table = LatencyTable(net.space, found, milliseconds)
    for arch in net.space.sample(seed=0, n=12):
        assert table(net.space.encode([arch]))[0] == counted(net.extract(arch), torch.zeros(1, 8, 8))


def counted(module: nn.Module, *inputs: torch.Tensor) -> float:
    """MACs, for want of a clock that gives the same each time."""
    with MacsCounter() as counter:
        module(*inputs)
    return float(counter.macs)


def test_a_model_without_elastic_depth_is_one_block_that_depends_on_all_dims():
    recipe = elastic.Recipe({"a": "h _", "b": "_ h"}, {"h": elastic.DimRule((0.25, 0.5))}, input_size=(8,))
    (block,) = find_blocks(elastic.elasticize(Residual(), recipe))
    assert block.dims == ("h",)
    assert len(set(block.signatures)) == 3


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Residual(), Residual()])
        self.blocks[1].forward = lambda x, scale: x * scale

    def forward(self, x):
        return self.blocks[1](self.blocks[0](x), 2)


def test_a_block_that_is_called_with_more_than_tensors_is_refused():
    recipe = elastic.Recipe({"blocks": "depth"}, {"depth": elastic.DimRule((0.5,))}, input_size=(8,))
    net = elastic.elasticize(Scaled(), recipe, check=False)
    with pytest.raises(ProfileError, match=r"'blocks.1' is called with more than tensors.*whole subnets"):
        find_blocks(net)
