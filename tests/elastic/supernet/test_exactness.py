"""`elasticize` compares before it returns: what can't be cut out right is kept, shared or refused, and says so."""

import copy

import pytest
import torch
from small import randomise
from torch import nn

import elastic
from elastic.errors import LayoutError
from elastic.supernet import exactness


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return x + self.linear(x).relu()


class Lists(nn.Module):
    """Two lists of blocks, walked by `way`."""

    def __init__(self, way, blocks=(4, 4)):
        super().__init__()
        self.way, self.stem, self.head = way, nn.Linear(4, 8), nn.Linear(8, 3)
        self.one, self.other = (nn.ModuleList(Block(8) for _ in range(count)) for count in blocks)

    def forward(self, x):
        return self.head(self.way(self.stem(x), self.one, self.other))


def by_index(x, one, other):
    for at in range(len(one)):
        x = other[at](one[at](x))
    return x


def by_zip(x, one, other):
    for first, second in zip(one, other, strict=False):
        x = second(first(x))
    return x


def long_skips(x, one, other):
    skips = []
    for block in one:
        x = block(x)
        skips.append(x)
    for block in other:
        x = block(x + skips.pop())
    return x


def after_each_other(x, one, other):
    for block in (*one, *other):
        x = block(x)
    return x


def depths(supernet):
    return sorted(dim.name for dim in supernet.space.dims if dim.kind == "depth")


def exact(supernet, x, archs=6):
    for arch in (supernet.space.smallest, *supernet.space.sample(0, archs)):
        subnet = supernet.extract(arch)
        with torch.no_grad(), supernet.active(arch):
            assert torch.equal(supernet(x), subnet(x))
        assert sum(one.numel() for one in subnet.parameters()) == supernet.params(arch)
    return supernet


@pytest.mark.parametrize("way", [by_index, by_zip, long_skips])
def test_lists_that_are_walked_together_share_one_depth(way):
    supernet = exact(elastic.elasticize(randomise(Lists(way)).eval(), input_size=(4,)), torch.randn(2, 4))
    assert len(depths(supernet)) == 1
    subnet = supernet.extract(supernet.space.smallest)
    assert len(subnet.one) == len(subnet.other) == 2
    assert any("always the same as depth." in why for why in elastic.inspect(supernet).notes.values())


def test_lists_that_are_walked_apart_have_depths_of_their_own():
    supernet = exact(elastic.elasticize(randomise(Lists(after_each_other)).eval(), input_size=(4,)), torch.randn(2, 4))
    assert depths(supernet) == ["depth.one", "depth.other"]


def test_lists_of_other_lengths_that_are_walked_together_stay():
    model = randomise(Lists(by_index, (2, 4))).eval()
    supernet = exact(elastic.elasticize(model, input_size=(4,)), torch.randn(2, 4))
    assert all(
        len(supernet.extract(arch).one) <= len(supernet.extract(arch).other) for arch in supernet.space.sample(0, 9)
    )


class OnlyInTraining(nn.Module):
    """A branch that runs in training mode alone, and whose code knows one width."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 32), nn.Linear(32, 3)
        self.register_buffer("mask", torch.ones(32))

    def forward(self, x):
        x = self.first(x)
        return self.last(x * self.mask if self.training else x)


@pytest.mark.filterwarnings("ignore:nothing of this OnlyInTraining is elastic")
def test_branches_that_run_only_in_training_are_compared():
    supernet = elastic.elasticize(randomise(OnlyInTraining()), input_size=(4,))
    assert supernet.space.size == 1
    assert (
        "in training" in supernet.recipe.notes["hidden.first"]
        or "size of tensor" in supernet.recipe.notes["hidden.first"]
    )
    unchecked = elastic.elasticize(randomise(OnlyInTraining()), input_size=(4,), check=False)
    assert unchecked.space.size > 1


class Sums(nn.Module):
    """Adds what an object of its own makes of a weight, which that object holds again whenever it is copied."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 32), nn.Linear(32, 3)
        self.kept = Kept(self.first)

    def forward(self, x):
        return self.last(self.first(x)) + self.kept.module.weight.sum()


class Kept:
    def __init__(self, module):
        self.module = module

    def __deepcopy__(self, memo):
        return self


@pytest.mark.filterwarnings("ignore:nothing of this Sums is elastic")
def test_what_is_cut_out_wrong_is_never_promised(monkeypatch):
    monkeypatch.setattr(Kept, "__deepcopy__", lambda self, memo: Kept(memo.get(id(self.module), self.module)))
    assert elastic.elasticize(randomise(Sums()), input_size=(4,)).space.size > 1
    monkeypatch.setattr("elastic.layers.extraction._Attributes._deep", lambda self, value: value)
    supernet = elastic.elasticize(randomise(Sums()), input_size=(4,))
    assert supernet.space.size == 1
    assert "what is cut out differs" in supernet.recipe.notes["hidden.first"]


def test_a_recipe_of_ones_own_that_does_not_fit_is_refused():
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last, self.width = nn.Linear(4, 8), nn.Linear(8, 3), 8

        def forward(self, x):
            return self.last(self.first(x).view(-1, self.width))

    layout = {"first": "hidden 4", "last": "3 hidden"}
    recipe = elastic.Recipe(layout, {"hidden": elastic.DimRule((0.5, 1.0))}, input_size=(4,))
    model = randomise(Doubled()).eval()
    with pytest.raises(LayoutError, match=r"this layout doesn't fit the code of Doubled: with \{'hidden': 4\}"):
        elastic.elasticize(model, recipe)
    assert type(model.first) is nn.Linear
    assert elastic.elasticize(copy.deepcopy(model), recipe, check=False).space.size == 2
    whole = elastic.Recipe({**layout, "width": "hidden"}, recipe.dims, input_size=(4,))
    with pytest.raises(LayoutError):  # (2, 4) isn't (-1, 8)
        elastic.elasticize(model, elastic.Recipe({"first": "hidden 4"}, recipe.dims, input_size=(4,)))
    assert elastic.elasticize(model, whole).space.size == 2


def test_comparing_leaves_everything_as_it_was():
    model = nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.Dropout(), nn.Linear(32, 3)).train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    elastic.elasticize(model, input_size=(4,))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert model.training
    assert list(model.state_dict()) == list(before)


def test_large_models_and_models_without_data_are_not_copied(monkeypatch):
    def case(*_):
        raise AssertionError("copied")

    monkeypatch.setattr(exactness, "_copy", case)
    with torch.device("meta"):
        elastic.elasticize(nn.Sequential(nn.Linear(4, 32), nn.Linear(32, 3)), input_size=(4,))
    monkeypatch.setattr(exactness, "MOST_PARAMETERS", 10)
    elastic.elasticize(nn.Sequential(nn.Linear(4, 32), nn.Linear(32, 3)), input_size=(4,))


def test_nothing_elastic_is_said_loudly():
    with pytest.warns(UserWarning, match="nothing of this Linear is elastic, so that it has one subnet; weight"):
        elastic.elasticize(nn.Linear(4, 3), input_size=(4,))
