"""Formulas against counting on the extracted model, one subnet at a time."""

import gc

import numpy as np
import pytest
import torch
from counting import macs_of, memory_of, params_of
from examples import few, mostly_swept
from families import CASES, COUNTED, supernet
from hypothesis import given
from hypothesis import strategies as st
from small import FAMILIES, made_once, vit
from torch import nn

import elastic
from elastic import DimRule, Recipe
from elastic.errors import CostError

families = pytest.mark.parametrize("family", FAMILIES)


@pytest.mark.parametrize("name", mostly_swept(CASES, COUNTED), scope="module")
def test_peak_memory_of_every_family(name):
    made = supernet(name)
    for arch in [made.space.largest, made.space.smallest, *made.space.sample(0, 3)]:
        assert made.memory([arch])[0] == memory_of(made.extract(arch), made.example_inputs(arch, seed=0))


@families
@few
@given(seed=st.integers(0, 2**31))
def test_formula_is_counter(family, seed):
    supernet = made_once(family)
    arch = supernet.space.sample(seed)
    subnet, x = supernet.extract(arch), supernet.example_inputs(arch, seed=0)
    assert supernet.params([arch])[0] == params_of(subnet)
    assert supernet.macs([arch])[0] == macs_of(subnet, x)
    assert supernet.memory([arch])[0] == memory_of(subnet, x)


@families
def test_many_at_once_is_one_by_one(family):
    supernet = made_once(family)
    rows = supernet.space.sample_rows(0, 40)
    archs = supernet.space.decode(rows)
    for cost in (supernet.macs, supernet.params, supernet.memory):
        together = cost(rows)
        assert together.dtype == np.int64
        assert together.tolist() == cost(archs).tolist() == [cost([arch])[0] for arch in archs]
    assert cost(rows[:0]).shape == (0,)


def test_more_rows_than_a_chunk():
    supernet = made_once("mobilenet")
    rows = supernet.space.sample_rows(1, 40_000)
    for cost in (supernet.macs, supernet.params, supernet.memory):
        assert (cost(rows)[-100:] == cost(rows[-100:])).all()


class Gram(nn.Module):
    """Multiplies by itself in its forward pass, which no entry of its layout says."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 8)

    def forward(self, x):
        y = self.fc(x)
        return y.transpose(1, 2) @ y


class Bounded(Gram):
    """Slices as much as the largest subnet has, which is nothing at all."""

    def forward(self, x):
        y = self.fc(x)[..., :8]
        return y.transpose(1, 2) @ y


@pytest.mark.parametrize("model", [Gram, Bounded])
def test_a_product_that_the_layout_does_not_mention_is_counted(model):
    recipe = Recipe({"fc": "width _"}, {"width": DimRule((0.5,))}, input_size=(4, 6))
    supernet = elastic.elasticize(model(), recipe)
    for arch in (supernet.space.smallest, supernet.space.largest):
        subnet, x = supernet.extract(arch), supernet.example_inputs(arch, seed=0)
        assert supernet.params([arch]) == params_of(subnet)
        assert supernet.macs([arch]) == macs_of(subnet, x)
        assert supernet.memory([arch]) == memory_of(subnet, x)


class Beside(Gram):
    """Concatenates an elastic and a fixed width: a sum, and no product, of sizes."""

    def forward(self, x):
        y = torch.cat([self.fc(x), x], 2)
        return y.transpose(1, 2) @ y


class Peeking(Gram):
    """Reads the values of activations."""

    def forward(self, x):
        return x if self.fc(x).sum().item() > 0 else super().forward(x)


class Masked(nn.Module):
    """Reads the values of its input, which are known."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 6)
        self.gram = Gram()

    def forward(self, ids):
        mask = torch.ones(ids.shape[1], device=self.table.weight.device)
        x = self.table(ids) if (ids == 0).all() and mask.all() else self.table.weight
        return self.gram(x * mask[:, None])


def test_a_sum_of_sizes_is_refused():
    recipe = Recipe({"fc": "width _"}, {"width": DimRule((0.5,))}, input_size=(4, 6))
    supernet = elastic.elasticize(Beside(), recipe)
    with pytest.raises(CostError, match=r"multiply-accumulates of ''.* counted in the smallest subnet"):
        supernet.macs([supernet.space.smallest])
    with pytest.raises(CostError, match=r"a tensor made in '' has .* bytes in the smallest subnet"):
        supernet.memory([supernet.space.smallest])


def test_code_that_reads_activations_is_refused():
    recipe = Recipe({"fc": "width _"}, {"width": DimRule((0.5,))}, input_size=(4, 6))
    supernet = elastic.elasticize(Peeking(), recipe)
    with pytest.raises(CostError, match="Peeking doesn't run on tensors without data"):
        supernet.macs([supernet.space.smallest])


def test_code_may_read_token_ids_and_masks():
    recipe = Recipe({"gram.fc": "width _"}, {"width": DimRule((0.5,))}, input_size=(4,), vocabulary=9)
    supernet = elastic.elasticize(Masked(), recipe)
    arch = supernet.space.smallest
    subnet, x = supernet.extract(arch), supernet.example_inputs(arch)
    assert supernet.macs([arch]) == macs_of(subnet, x)
    assert supernet.memory([arch]) == memory_of(subnet, x)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_costs_are_the_same_in_every_mode(mode):
    supernet, again = FAMILIES["mobilenet"](), FAMILIES["mobilenet"]()
    archs = supernet.space.sample(0, 4)
    with mode():
        metrics = supernet.macs(archs), supernet.memory(archs)
    assert np.array_equal(metrics, (again.macs(archs), again.memory(archs)))


def test_costs_are_the_same_without_data():
    supernet, without = made_once("mobilenet"), FAMILIES["mobilenet"]().to("meta")
    archs = supernet.space.sample(0, 4)
    assert np.array_equal(supernet.macs(archs), without.macs(archs))
    assert np.array_equal(supernet.memory(archs), without.memory(archs))


@pytest.mark.parametrize("on", [True, False])
def test_first_costs_leave_the_garbage_collector_as_it_was(on):
    supernet = vit()
    was = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        supernet.macs(supernet.space.smallest)
        supernet.memory(supernet.space.smallest)
        assert gc.isenabled() == on
    finally:
        (gc.enable if was else gc.disable)()
