"""Formulas against counting on the extracted model, one subnet at a time."""

import numpy as np
import pytest
import torch
from counting import macs_of, memory_of, params_of
from examples import few, mostly_swept
from families import CASES, COUNTED, supernet
from hypothesis import given
from hypothesis import strategies as st
from small import FAMILIES, made_once
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
    """Multiplies by itself in its forward pass, which a layout of its weights alone doesn't explain."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 8)

    def forward(self, x):
        y = self.fc(x)
        return y.transpose(1, 2) @ y


def test_what_the_layout_does_not_explain_is_refused():
    recipe = Recipe({"fc": "width _"}, {"width": DimRule((0.5,))}, input_size=(4, 6))
    supernet = elastic.elasticize(Gram(), recipe)
    assert supernet.params([supernet.space.smallest]) == 7 * 4
    with pytest.raises(CostError, match=r"multiply-accumulates of .*64 counted, 256 from its sizes"):
        supernet.macs([supernet.space.smallest])
    with pytest.raises(CostError, match="bytes in 3 subnets"):
        supernet.memory([supernet.space.smallest])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_costs_are_the_same_in_every_mode(mode):
    supernet, again = FAMILIES["mobilenet"](), FAMILIES["mobilenet"]()
    archs = supernet.space.sample(0, 4)
    with mode():
        figures = supernet.macs(archs), supernet.memory(archs)
    assert np.array_equal(figures, (again.macs(archs), again.memory(archs)))
