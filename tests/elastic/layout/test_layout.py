"""Layouts against models that they fit and don't fit; a model that isn't an image classifier."""

import copy
import pickle
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import elastic
from elastic import Derived, DimRule, Recipe
from elastic.errors import CostError, LayoutError, RecipeError


class Mixer(nn.Module):
    """A small model with everything that the notation can say."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.stem = nn.Linear(5, 8)
        self.blocks = nn.ModuleList([Block() for _ in range(4)])
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)
        self.width = 8
        self.pair = (8, 8)

    def forward(self, x):
        x = self.stem(x) + self.token
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)) * (self.width / self.pair[0])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = 3
        self.qkv = nn.Linear(8, 2 * 3 * 4)
        self.gate = nn.Linear(12, 6)
        self.ungate = nn.Linear(6, 12)
        self.proj = nn.Linear(12, 8, bias=False)

    def forward(self, x):
        q, v = self.qkv(x).unflatten(-1, (2, self.heads, 4)).unbind(-3)
        x1 = (q.tanh() * v).flatten(-2)
        return x + self.proj(x1 * self.ungate(self.gate(x1)))


LAYOUT = {
    "token": "1 1 embed",
    "stem": "embed _",
    "blocks": "depth",
    "blocks.{i}.heads": "heads.{i}",
    "blocks.{i}.qkv": "(2 heads.{i} 4) embed",
    "blocks.{i}.gate": "gate.{i} (heads.{i} 4)",
    "blocks.{i}.ungate": "(heads.{i} 4) gate.{i}",
    "blocks.{i}.proj": "embed (heads.{i} 4)",
    "norm": "embed",
    "head": "3 embed",
    "width": "embed",
    "pair": "embed embed",
    "distill?": "_ embed",
}
DIMS = {"embed": DimRule((0.5, 0.75, 1.0)), "heads": DimRule((1, 2, 3)), "depth": DimRule((1, 2, 3, 4), keep="spread")}
DERIVED = {f"gate.{i}": Derived((f"heads.{i}",), ratio=Fraction(2)) for i in range(4)}


def recipe(layout=None, derived=DERIVED, dims=DIMS):
    return Recipe(layout={**LAYOUT, **(layout or {})}, dims=dims, derived=derived, input_size=(7, 5))


@given(st.integers(0, 2**31))
def test_active_is_extracted_for_a_model_of_ones_own(seed):
    torch.manual_seed(seed % 1000)
    model = Mixer().eval()
    x = torch.randn(2, 7, 5)
    full = model(x)
    keys = list(model.state_dict())
    supernet = elastic.elasticize(model, recipe())
    assert supernet.model is model
    assert list(model.state_dict()) == keys
    assert torch.equal(supernet(x), full)
    arch = supernet.space.sample(seed)
    subnet = supernet.extract(arch)
    with supernet.active(arch):
        active = supernet(x)
    assert torch.equal(active, subnet(x))
    assert torch.equal(supernet(x), full)
    assert sum(p.numel() for p in subnet.parameters()) == supernet.params([arch])[0]
    assert subnet.width == arch["embed"]
    assert subnet.pair == (arch["embed"],) * 2
    assert type(subnet.blocks) is nn.ModuleList
    assert len(subnet.blocks) == arch["depth"]
    twin = pickle.loads(pickle.dumps(copy.deepcopy(supernet)))
    twin.activate(arch)
    assert torch.equal(twin(x), active)
    assert supernet.arch == supernet.space.largest


def test_sizes_of_an_arch_do_not_depend_on_those_that_were_active_before():
    supernet = elastic.elasticize(Mixer(), recipe())
    found = []
    for before in (supernet.space.largest, supernet.space.smallest, *supernet.space.sample(0, 3)):
        supernet.activate(before)
        supernet.activate(supernet.space.smallest)  # of depth 1, so without most of the dims
        found.append({name: size.value for name, size in supernet.layout.sizes.items()})
    assert all(sizes == found[0] for sizes in found)


def test_spread_depth_runs_the_blocks_that_dynabert_keeps():
    supernet = elastic.elasticize(Mixer(), recipe())
    blocks = list(supernet.model.blocks)
    supernet.activate(supernet.space.variant({"depth": 2}))
    assert list(supernet.model.blocks) == [blocks[0], blocks[2]]
    assert len(supernet.model.blocks) == 2
    assert supernet.model.blocks[1] is blocks[2]
    assert list(supernet.model.blocks[:1]) == [blocks[0]]
    assert list(supernet.arch) == ["depth", "embed", "heads.0", "heads.2"]


@pytest.mark.parametrize(
    ("entry", "axes", "message"),
    [
        ("blocks.{i}.kqv", "embed", r"'blocks.\{i\}.kqv': Mixer has no module.*qkv"),
        ("bias", "embed", "'bias': Mixer has no module.*token, stem, blocks|'bias'.*blocks"),
        ("norm", "width", "unknown axis 'width'.*the recipe offers"),
        ("head", "4 embed", r"'head': axis 0 of head.weight \(3, 8\) is 3 long, \(4\) makes 4"),
        ("head", "embed embed", "'head'.*is 3 long.*embed = 8 \\(from token\\)"),
        ("head", "embed", "'head': 1 axes for head, which has a tensor of shape"),
        ("blocks.{i}.qkv", "(2 heads.{i} 5) embed", "'blocks.{i}.qkv'.*(multiple|makes)"),
        ("blocks.{i}.qkv", "(2 heads.{j} 4) embed", r"uses \{j\}"),
        ("blocks", "depth depth", "a container has one size"),
        ("stem", "embed (_ 5)", "_ stands alone"),
        ("stem", "embed )", "can't read"),
    ],
)
def test_a_layout_that_does_not_fit_names_its_entry_and_changes_nothing(entry, axes, message):
    model = Mixer()
    with pytest.raises(LayoutError, match=message):
        elastic.elasticize(model, recipe({entry: axes}))
    assert type(model.stem) is nn.Linear
    assert type(model) is Mixer


def test_two_entries_for_one_tensor_are_refused_and_the_specific_one_wins():
    with pytest.raises(LayoutError, match=r"both describe stem\.weight"):
        elastic.elasticize(Mixer(), recipe({"stem.weight": "embed _"}))
    supernet = elastic.elasticize(Mixer(), recipe({"blocks.0.proj": "embed 12"}, dims=DIMS | {"heads.0": DimRule(())}))
    assert supernet.space["embed"].choices == (4, 6, 8)
    assert "heads.0" not in [dim.name for dim in supernet.space.dims]


def test_choices_can_be_replaced_by_kind_name_or_glob():
    supernet = elastic.elasticize(
        Mixer(), recipe(), choices={"heads": [1], "heads.2": None, "heads.[3]": [2], "embed": [0.25]}
    )
    choices = {dim.name: dim.choices for dim in supernet.space.dims}
    assert choices == {"depth": (1, 2, 3, 4), "embed": (2, 8), "heads.0": (1, 3), "heads.1": (1, 3), "heads.3": (2, 3)}
    with pytest.raises(LayoutError, match="no such dim"):
        elastic.elasticize(Mixer(), recipe(), choices={"kernel": [3]})


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("heads", ["all"], "wanted a list of sizes"),
        ("heads", True, "wanted a list of sizes"),
        ("heads", [], "wanted a list of sizes"),
        ("embed", [0], "wanted a list of sizes"),
        ("embed", [1.5], "wanted a list of sizes"),
        ("heads", [-1], "wanted a list of sizes"),
        ("depth", [99], r"\[99\] exceed the model's own size, 4"),
        ("depth", [1, 99], r"\[99\] exceed the model's own size, 4; leave them out"),
        ("heads.7", None, "the model has no such size"),
    ],
)
def test_choices_that_mean_nothing_are_refused(key, values, message):
    model = Mixer()
    with pytest.raises(LayoutError, match=message):
        elastic.elasticize(model, recipe(), choices={key: values})
    assert type(model) is Mixer


def test_costs_need_an_input_s_shape():
    supernet = elastic.elasticize(Mixer(), Recipe(layout=LAYOUT, dims=DIMS, derived=DERIVED))
    with pytest.raises(CostError, match="input_size"):
        supernet.macs([supernet.space.largest])


def test_models_without_a_recipe_and_wrong_options_are_refused():
    with pytest.raises(RecipeError, match=r"Mixer can't be run on .* shape \(3, 224, 224\): .*; give its shape"):
        elastic.elasticize(Mixer())
    with pytest.raises(RecipeError, match="no recipe named 'vgg'"):
        elastic.elasticize(Mixer(), "vgg")
    with pytest.raises(RecipeError, match="a Recipe is complete"):
        elastic.elasticize(Mixer(), recipe(), resolutions=[8])
    model = Mixer()
    elastic.elasticize(model, recipe())
    with pytest.raises(RecipeError, match="elastic already"):
        elastic.elasticize(model, recipe())
