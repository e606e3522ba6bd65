"""What is discovered by watching a model run: the same as people write down, and nothing that isn't exact."""

import copy
from functools import cache

import pytest
import timm
import torch
from counting import macs_of, params_of
from examples import mostly_swept
from hypothesis import given
from hypothesis import strategies as st
from small import randomise
from torch import nn

import elastic
from elastic.discovery.atoms import fix, fresh, is_fixed, leaves, regroup, size_of, unify
from elastic.discovery.numbers import Attribute, Equations, TrackedInt
from elastic.errors import LayoutError, RecipeError
from elastic.layout.sorting import is_sortable

SMALL = {"num_classes": 5}
MODELS = {
    "resnet18": {"channels": (16, 16, 24, 32), "layers": (1, 2, 2, 1)},
    "resnet50_gn": {"channels": (32, 32, 64, 64), "layers": (1, 2, 1, 1)},
    "res2net50_26w_4s": {"layers": (1, 2, 1, 1)},
    "nf_resnet26": {"depths": (1, 2, 1, 1), "channels": (32, 32, 64, 64)},
    "vit_tiny_patch16_224": {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3},
    "swin_tiny_patch4_window7_224": {
        "img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 32, "depths": (2, 2), "num_heads": (2, 4)
    },
    "beit_base_patch16_224": {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3},
    "mixer_s32_224": {"img_size": 64},
    "ghostnet_050": {},
    "densenet121": {"block_config": (2, 3), "growth_rate": 16},
    "test_byobnet": {},
}  # fmt: skip
SIDES = {"vit_tiny_patch16_224": 32, "swin_tiny_patch4_window7_224": 32, "beit_base_patch16_224": 32}


ALWAYS = set(MODELS) - {"ghostnet_050"}  # of 16 deep blocks; test_runtime.py has it, too


def plain(name):
    with torch.random.fork_rng(devices=[]):
        return randomise(timm.create_model(name, **SMALL, **MODELS[name]))


def discovered(name, **options):
    side = SIDES.get(name, 64)
    return elastic.elasticize(plain(name), "discovered", input_size=(3, side, side), **options)


@cache
def discovered_once(name):
    """A supernet made once, and images for it; leave its weights and its active subnet as they are."""
    side = SIDES.get(name, 64)
    return discovered(name), torch.rand(2, 3, side, side)


def kinds(supernet):
    return {dim.kind for dim in supernet.space.dims}


@pytest.mark.parametrize("name", mostly_swept(MODELS, ALWAYS))
@torch.no_grad()
def test_what_is_discovered_is_exact(name):
    model = plain(name)
    supernet, images = discovered_once(name)
    assert torch.equal(supernet(images), model(images))
    assert list(supernet.model.state_dict()) == list(model.state_dict())
    for arch in (supernet.space.smallest, *supernet.space.sample(1, 3)):
        subnet = supernet.extract(arch)
        with supernet.active(arch):
            active, resized = supernet(images), supernet.resize(images)
        assert torch.isfinite(active).all()
        assert torch.equal(active, subnet(resized))
        assert supernet.params([arch]) == [params_of(subnet)]
        assert supernet.macs([arch]) == [macs_of(subnet, torch.zeros(1, *supernet.input_shape(arch)))]


@pytest.mark.parametrize("name", mostly_swept(MODELS, ALWAYS))
@torch.no_grad()
def test_sorting_what_is_discovered_changes_nothing(name):
    supernet, images = copy.deepcopy(discovered_once(name))
    before = supernet(images)
    generator = torch.Generator().manual_seed(2)
    sizes = [size for size in supernet.layout.sizes.values() if is_sortable(size, supernet.layout)]
    supernet.sort({size.name: torch.rand(size.full, generator=generator) for size in sizes})
    assert (supernet(images) - before).abs().max() <= 1e-4 * before.abs().max()


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_it_finds_what_people_write_down(name):
    found, _ = discovered_once(name)
    side = SIDES.get(name)
    written = elastic.elasticize(plain(name), **({} if side else {"input_size": (3, 64, 64)}))
    for kind in kinds(written) & {"depth", "heads", "embed", "hidden"}:
        mine, theirs = ([dim.choices for dim in one.space.dims if dim.kind == kind] for one in (found, written))
        assert mine == theirs
    assert found.macs([found.space.largest]) == written.macs([written.space.largest])


def test_transformers_get_heads_embedding_and_depth():
    swin, _ = discovered_once("swin_tiny_patch4_window7_224")
    assert {"embed", "heads", "hidden", "depth"} <= kinds(swin)
    # the code of BEiT takes heads × head width for the embedding: one size for both
    beit, _ = discovered_once("beit_base_patch16_224")
    assert [dim.name for dim in beit.space.dims if dim.kind in ("heads", "embed")] == ["heads"]
    assert beit.extract(beit.space.smallest).blocks[0].norm1.normalized_shape == (32,)


# --- small models, one mechanism each -----------------------------------------------------------------------------


def small(module, shape, **options):
    return elastic.elasticize(module.eval(), input_size=shape, **options)


class Concatenated(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(6, 16), nn.Linear(6, 32), nn.Linear(48, 3)

    def forward(self, x):
        return self.out(torch.cat([self.a(x), self.b(x)], -1))


def test_what_is_concatenated_keeps_its_proportions():
    supernet = small(Concatenated(), (6,))
    subnet = supernet.extract(supernet.space.smallest)
    assert (subnet.a.out_features, subnet.b.out_features, subnet.out.in_features) == (8, 16, 24)


class Literal(nn.Module):
    def __init__(self, written):
        super().__init__()
        self.one, self.two, self.out, self.width = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 3), 16
        self.written = written

    def forward(self, x):
        x = self.one(x).reshape(-1, 16 if self.written else self.width)
        return self.out(self.two(x))


def test_what_the_code_says_in_numbers_stays_and_what_it_says_in_attributes_follows():
    fixed = small(Literal(True), (6,))
    assert [dim.full for dim in fixed.space.dims] == [16]
    assert any("Literal says 16 in its code" in why for why in fixed.recipe.notes.values())
    free = small(Literal(False), (6,))
    subnet = free.extract(free.space.smallest)
    assert subnet.width == subnet.one.out_features == 8


class Residual(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.stem, self.blocks, self.out = nn.Linear(6, 16), nn.ModuleList(blocks), nn.Linear(16, 3)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.out(x)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        return x + self.down(self.up(x).relu())


class Rooted(nn.Module):
    """Has a parameter of its own, beside those of its modules."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Linear(16, 64), nn.Linear(32, 5)
        self.weight = nn.Parameter(torch.randn(4, 16, 8, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        groups = torch.relu(self.embed(x)).view(-1, 4, 16)
        return self.head(torch.einsum("bgi,gio->bgo", groups, self.weight).flatten(1))


def test_parameters_of_the_model_itself_are_sliced_too():
    supernet = elastic.elasticize(Rooted().eval(), input_size=(16,))
    assert "hidden.model" in supernet.space.names
    images = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    for arch in (supernet.space.smallest, supernet.space.sample(0)):
        subnet = supernet.extract(arch)
        assert subnet.weight.numel() < 4 * 16 * 8 or arch == supernet.space.largest
        with supernet.active(arch):
            assert torch.equal(supernet(images), subnet(images))


def test_blocks_that_add_can_be_left_out_and_others_cannot():
    supernet = small(Residual([Block() for _ in range(4)]), (6,))
    assert supernet.space["depth"].choices == (2, 3, 4)
    assert "depth" not in kinds(small(Residual([nn.Linear(16, 16) for _ in range(4)]), (6,)))
    first = small(Residual([nn.Linear(16, 16), Block(), Block()]), (6,))
    assert first.space["depth"].choices == (2, 3)


def test_shared_weights_stay_shared():
    block = Block()
    supernet = small(Residual([block, block]), (6,))
    with torch.no_grad():
        arch, x = supernet.space.smallest, torch.rand(2, 6)
        subnet = supernet.extract(arch)
        assert subnet.blocks[0] is subnet.blocks[1]
        with supernet.active(arch):
            assert torch.equal(supernet(x), subnet(x))


class Gated(nn.Module):
    """GELU's approximation written out; a block gives its weights of attention, say, beside what it adds to."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        wide = self.up(x)
        return x + self.down(wide * (1 + torch.tanh(wide + 0.044715 * wide**3))), wide.mean(1, keepdim=True)


class Several(Residual):
    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x, _ = block(x)
        return self.out(x)


def test_what_is_added_to_itself_is_no_stream_and_what_comes_beside_the_stream_does_not_matter():
    supernet = small(Several([Gated() for _ in range(4)]), (6,))
    assert kinds(supernet) == {"depth", "hidden", "width"}
    assert [name for name in supernet.space.names if name.startswith("hidden")] == [
        f"hidden.blocks.{at}.up" for at in range(4)
    ]


class Keeping(nn.Module):
    """Its code sets a buffer to what it is given of it: a slice, in a subnet."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.out = nn.Linear(6, 16), nn.Linear(6, 16), nn.Linear(16, 3)
        self.shift = nn.Buffer(torch.ones(16))

    def forward(self, x):
        self.shift = self.shift.to(x.device)
        return self.out(self.one(x) + self.shift) + self.out(self.two(x))


def test_what_the_code_sets_anew_stays():
    with pytest.warns(UserWarning, match="nothing of this Keeping is elastic"):
        supernet = small(Keeping(), (6,))
    assert supernet.space.names == ()
    assert "its code replaces shift" in " ".join(supernet.recipe.notes.values())


class Odd(nn.Module):
    """Something that no rule knows, in the middle."""

    def __init__(self, middle):
        super().__init__()
        self.a, self.b, self.c, self.middle = nn.Linear(6, 32), nn.Linear(32, 32), nn.Linear(32, 3), middle

    def forward(self, x):
        return self.c(self.b(self.middle(self.a(x))))


def test_what_no_rule_knows_stays_and_says_so():
    supernet = small(Odd(nn.Sequential(torch.nn.Linear(32, 32), Sorted())), (6,))
    assert any("sort in Sorted (middle.*)" in why for why in supernet.recipe.notes.values())
    assert len(supernet.space.dims) == 2  # before and behind it


class Sorted(nn.Module):
    def forward(self, x):
        return x.sort(-1).values


class Asking(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


def test_code_that_asks_for_data_is_watched_on_data():
    supernet = small(Odd(Asking()), (6,))
    assert [dim.full for dim in supernet.space.dims] == [32, 32]


class Demanding(nn.Module):
    def forward(self, x):
        assert x.shape[-1] in (31 + 1, 1), f"wanted 32 features, got {x.shape[-1]}"
        return x


def test_sizes_that_the_code_refuses_are_dropped_with_its_words():
    supernet = small(Odd(Demanding()), (6,))
    assert [dim.name for dim in supernet.space.dims] == ["hidden.b"]
    assert any("wanted 32 features, got 16" in why for why in supernet.recipe.notes.values())


def test_models_in_double_precision_are_watched_too():
    assert len(small(Literal(False).double(), (6,)).space.dims) == 2


def test_a_model_that_cannot_run_is_refused_whole():
    model = Odd(nn.Linear(7, 7))
    with pytest.raises(RecipeError, match=r"Odd can't be run on an input of shape \(6,\): .*; give its shape"):
        elastic.elasticize(model, input_size=(6,))
    assert type(model.a) is nn.Linear


def test_a_recipe_that_does_not_fit_gives_way_to_tracing():
    model = timm.create_model("resnet50_gn", **SMALL, **MODELS["resnet50_gn"])
    supernet = elastic.elasticize(model, input_size=(3, 64, 64))
    why = supernet.recipe.notes["the recipe 'resnet'"]
    assert why.startswith("discovered instead: the resnet recipe can't narrow the GroupNorm")
    with pytest.raises(LayoutError, match="the resnet recipe can't narrow"):
        elastic.elasticize(timm.create_model("resnet50_gn", **SMALL), "resnet")


def test_resolutions_that_a_model_cannot_take():
    with pytest.raises(RecipeError, match=r"can't run at resolutions \[20\]; leave them out"):
        discovered("swin_tiny_patch4_window7_224", resolutions=[20])
    assert discovered("resnet18", resolutions=[48, 64]).space["resolution"].choices == (48, 64)


# --- atoms and numbers --------------------------------------------------------------------------------------------

lengths = st.lists(st.integers(1, 12), min_size=1, max_size=4)


@given(lengths, st.randoms())
def test_regrouping_keeps_lengths(before, random):
    after = list(before)
    random.shuffle(after)
    found = regroup([fresh(length) for length in before], after, "straddling")
    assert [size_of(axis) for axis in found] == after


@given(lengths)
def test_unified_axes_have_the_same_atoms(factors):
    one = tuple(atom for length in factors for atom in fresh(length))
    other = fresh(size_of(one))
    unify(one, other, "straddling")
    assert leaves(one) == leaves(other)


def test_straddling_factors_are_fixed():
    one, other = (*fresh(2), *fresh(3)), (*fresh(3), *fresh(2))
    unify(one, other, "straddling")
    assert is_fixed(one)
    assert is_fixed(other)


def test_quotients_split_what_they_divide():
    width, heads, each = fresh(48), fresh(3), fresh(16)
    equations = Equations()
    attribute = Attribute("attn", "num_heads")
    number = TrackedInt(3, (attribute,))
    equations.add(number, heads, "said")
    equations.add(TrackedInt(48, (width,)) // number, each, "said")
    equations.solve()
    assert leaves(width) == leaves((*heads, *each))
    assert equations.attributes == {attribute: heads}


def test_unclear_numbers_fix_what_they_measure():
    axis = fresh(5)
    equations = Equations()
    equations.add(TrackedInt(5, (Attribute("a", "x"), Attribute("a", "y"))), axis, "unclear")
    equations.solve()
    assert is_fixed(axis)
    other = fresh(4)
    equations.add(4, other, "a number")
    assert leaves(other)[0].why == "a number"


def test_fixing_keeps_the_first_reason():
    axis = fresh(4, "one")
    fix(axis, "two")
    assert leaves(axis)[0].why == "one"


def test_the_recipe_is_known_by_its_former_name_too():
    names, size = ("traced", "discovered"), (3, 64, 64)
    former, found = (elastic.elasticize(plain("resnet18"), name, input_size=size) for name in names)
    assert former.recipe.layout == found.recipe.layout
    assert (former.recipe.name, found.recipe.name) == ("discovered", "discovered")
    with pytest.raises(RecipeError, match=r"no recipe named 'trace'; there are .*discovered"):
        elastic.elasticize(plain("resnet18"), "trace")
