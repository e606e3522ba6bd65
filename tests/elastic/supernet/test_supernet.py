"""Activating and extracting: state, what an extracted model is, and that it needs nothing of ours."""

import copy
import pickle

import pytest
import timm
import torch
from forked import run_program
from hypothesis import given
from hypothesis import strategies as st
from small import FAMILIES, made_once, mobilenet, randomise, vit
from torch import nn

import elastic
from elastic.errors import ArchError, LayoutError
from elastic.layers.modules import upstream_class
from elastic.support.weights import save_weights

families = pytest.mark.parametrize("family", FAMILIES)


@families
def test_active_gives_back_the_former_arch_whatever_happens(family):
    supernet = FAMILIES[family]()
    first, second = supernet.space.sample(0, 2)
    supernet.activate(first)

    def fail_inside():
        with supernet.active(second):
            assert supernet.arch == second
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert supernet.arch == first
    supernet.extract(second)
    supernet.macs([second])
    assert supernet.arch == first
    with pytest.raises(ArchError):
        supernet.activate({**second, "no": 1})
    assert supernet.arch == first


@families
def test_notebooks_show_a_supernet_as_tables(family):
    supernet = made_once(family)
    shown = supernet._repr_html_()
    assert shown.count("<table>") == 2
    assert shown.endswith(supernet.space._repr_html_())
    assert f"<td>{upstream_class(supernet.model).__name__}</td>" in shown


@families
def test_smallest_and_largest_are_archs(family):
    supernet = made_once(family)
    for word, arch in (("smallest", supernet.space.smallest), ("largest", supernet.space.largest)):
        assert supernet.params(word) == supernet.params(arch)
        with supernet.active(word):
            assert supernet.arch == arch


@pytest.mark.parametrize("given", [3, "middle", None])
def test_costs_of_what_is_no_arch_are_refused_in_a_sentence(given):
    supernet = made_once("mobilenet")
    for asked in (supernet.macs, supernet.params, supernet.memory, supernet.activate, supernet.extract):
        with pytest.raises(ArchError, match=f"wanted an arch, .*got {given!r}"):
            asked(given)


@families
@given(seed=st.integers(0, 2**31))
def test_the_extracted_model_is_an_ordinary_module(family, seed):
    supernet = made_once(family)
    arch = supernet.space.sample(seed)
    subnet = supernet.extract(arch)
    x = torch.randn(2, *supernet.input_shape(arch))
    expected = subnet(x)
    assert torch.equal(copy.deepcopy(subnet)(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(subnet))(x), expected)
    assert not any(type(module).__module__.startswith("elastic") for module in subnet.modules())
    again = randomise(supernet.extract(arch), seed=1)
    again.load_state_dict(subnet.state_dict(), strict=True)
    assert torch.equal(again(x), expected)
    shared = {p.untyped_storage().data_ptr() for p in supernet.parameters()}
    assert not shared & {p.untyped_storage().data_ptr() for p in subnet.parameters()}
    assert all(p.untyped_storage().nbytes() == p.nbytes for p in subnet.parameters())


@families
def test_the_extracted_model_exports_and_compiles(family):
    supernet = made_once(family)
    arch = supernet.space.sample(3)
    subnet = supernet.extract(arch)
    x = torch.randn(2, *supernet.input_shape(arch))
    exported = torch.export.export(subnet, (x,)).module()
    torch.testing.assert_close(exported(x), subnet(x))
    compiled = torch.compile(subnet, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), subnet(x))


@pytest.mark.sweep  # test_families.py pickles one of each family
def test_the_extracted_model_loads_where_this_project_is_not(tmp_path):
    supernet = mobilenet()
    arch = supernet.space.sample(5)
    subnet = supernet.extract(arch)
    x = torch.randn(1, *supernet.input_shape(arch))
    torch.save({"model": subnet, "x": x, "y": subnet(x)}, tmp_path / "subnet.pt")
    program = """
import sys, torch
saved = torch.load(sys.argv[1], weights_only=False)  # our own file
assert torch.equal(saved["model"](saved["x"]), saved["y"])
"""
    run_program(program, str(tmp_path / "subnet.pt"), alone=True)


@families
def test_a_copy_of_a_supernet_is_independent(family):
    supernet = FAMILIES[family]()
    twin = pickle.loads(pickle.dumps(copy.deepcopy(supernet)))
    x = torch.randn(2, *supernet.input_shape())
    before = supernet(x)
    twin.activate(supernet.space.smallest)
    randomise(twin.model, seed=1)
    assert torch.equal(supernet(x), before)
    assert twin.extract(twin.space.smallest) is not None
    assert supernet.arch == supernet.space.largest


@pytest.mark.parametrize("resolution", [16, 24, 32])
def test_resolution_resizes_the_batch_and_positions_follow(resolution):
    supernet = vit()
    arch = supernet.space.variant({"resolution": resolution})
    x = torch.randn(2, 3, 32, 32)
    subnet = supernet.extract(arch)
    with supernet.active(arch):
        resized = supernet.resize(x)
        assert resized.shape == (2, 3, resolution, resolution)
        assert torch.equal(supernet(x), subnet(resized))
        assert supernet.input_shape() == (3, resolution, resolution)
    assert subnet.patch_embed.img_size == (resolution, resolution)
    with supernet.active(arch):
        assert torch.equal(supernet(x=x), supernet(x))
    assert subnet.pos_embed.shape == (1, 1 + (resolution // 8) ** 2, 48)


@families
@given(seed=st.integers(0, 2**31))
def test_a_subnet_that_shares_memory_is_the_same_and_leaves_the_supernet_alone(family, tmp_path_factory, seed):
    tmp_path, supernet = tmp_path_factory.mktemp("weights"), made_once(family)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    arch = supernet.space.sample(seed)
    subnet = supernet.extract(arch, share=True)
    x = torch.randn(2, *supernet.input_shape(arch))
    assert torch.equal(subnet(x), supernet.extract(arch)(x))
    stored = {p.untyped_storage().data_ptr() for p in supernet.parameters()}
    views = [p for p in subnet.parameters() if p.untyped_storage().data_ptr() in stored]
    assert len(views) > 0.7 * len(list(subnet.parameters()))  # not qkv, nor what is resampled
    assert save_weights(subnet, tmp_path / "shared") == save_weights(supernet.extract(arch), tmp_path / "own")
    subnet.train()(x)
    for name, tensor in supernet.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@families
def test_the_largest_subnet_is_the_original_at_any_size(family):
    supernet = made_once(family)
    subnet = supernet.extract(supernet.space.largest)
    x = torch.randn(2, 3, 40, 48)
    if family == "mobilenet":
        assert torch.equal(supernet(x), subnet(x))
    else:
        with pytest.raises(AssertionError, match="Input height"):
            supernet(x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_resized_too(dtype):
    supernet = mobilenet().to(dtype)
    arch = supernet.space.smallest
    x = torch.randn(2, 3, 32, 32, dtype=dtype)
    with supernet.active(arch):
        assert supernet.resize(x).dtype == dtype
        assert torch.equal(supernet(x), supernet.extract(arch)(supernet.resize(x)))


@pytest.mark.parametrize("resolutions", [[300], [-1], [7], ["all"], [(16, 24)]])
def test_resolutions_that_the_model_cannot_take_are_refused(resolutions):
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=1)
    with pytest.raises(LayoutError, match="resolutions: wanted sides of a square up to 32 pixels"):
        elastic.elasticize(model, resolutions=resolutions)


def test_one_arch_costs_one_number_and_many_an_array_of_them():
    supernet = vit()
    arch = supernet.space.largest
    for cost in (supernet.params, supernet.macs, supernet.memory):
        assert isinstance(cost(arch), int)
        assert cost([arch, arch]).tolist() == [cost(arch)] * 2


@families
def test_an_arch_is_one_state_whatever_was_active_before(family):
    supernet = FAMILIES[family]()
    for seed in range(20):
        arch, *others = supernet.space.sample(seed, 4)
        states = []
        for before in (supernet.space.largest, supernet.space.smallest, *others):
            supernet.activate(before)
            supernet.activate(arch)
            states.append({name: size.value for name, size in supernet.layout.sizes.items()})
        assert all(state == states[0] for state in states)


@pytest.mark.filterwarnings("ignore:nothing of this Reader is elastic")
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_recurrent_network_is_cut_out_after_a_pass_with_gradients(kind):
    """Its layers hold what they last computed with in a list of their own."""

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.layer, self.head = nn.Linear(16, 32), kind(32, 48, batch_first=True), nn.Linear(48, 5)

        def forward(self, x):
            return self.head(self.layer(torch.relu(self.embed(x)))[0][:, -1])

    supernet = elastic.elasticize(Reader().eval(), input_size=(7, 16))
    texts = torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(0))
    supernet(texts).sum().backward()
    subnet = supernet.extract(supernet.space.largest)
    assert torch.equal(subnet(texts), supernet(texts))
    parameters = {id(one) for one in subnet.layer.parameters()}
    assert {id(one) for one in subnet.layer._flat_weights} == parameters
    subnet(texts).sum().backward()
    assert all(one.grad is not None for one in subnet.parameters())
