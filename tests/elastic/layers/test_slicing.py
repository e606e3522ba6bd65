"""The slicing rule against an obvious reference: index_select by hand, axis by axis."""

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from elastic.layers.slicing import TensorAxes, TensorAxis
from elastic.space.sizes import Derived, DimRule, Size, kept_indices, make_divisible


@st.composite
def size(draw):
    full = draw(st.integers(1, 4))
    made = Size("s", full, draw(st.sampled_from(["prefix", "centre"])))
    made.value = draw(st.integers(1, full))
    return made


@st.composite
def axis(draw):
    return TensorAxis(draw(st.lists(st.one_of(st.integers(1, 3), size()), min_size=1, max_size=3)))


def kept(one: TensorAxis) -> list[int]:
    """The flat indices that an axis keeps: those whose every factor's index is kept."""
    lengths = [f if isinstance(f, int) else f.full for f in one.factors]
    allowed = [range(f) if isinstance(f, int) else kept_indices(f.full, f.value, f.keep) for f in one.factors]
    flat = []
    for at in itertools.product(*allowed):
        index = 0
        for position, length in zip(at, lengths, strict=True):
            index = index * length + position
        flat.append(index)
    return flat


@given(st.lists(axis(), min_size=1, max_size=3))
def test_take_keeps_the_indices_of_every_factor(axes):
    tensor = torch.arange(float(torch.tensor([a.full for a in axes]).prod())).reshape([a.full for a in axes])
    expected = tensor
    for at, one in enumerate(axes):
        expected = expected.index_select(at, torch.tensor(kept(one)))
    taken = TensorAxes(axes).take(tensor)
    assert torch.equal(taken, expected)
    assert tuple(taken.shape) == tuple(one.value for one in axes)


@given(st.lists(axis(), min_size=1, max_size=3), st.integers(0, 99))
def test_permute_then_take_is_take_of_the_reordered_units(axes, seed):
    units = Size("units", 4)
    axes = [*axes, TensorAxis([2, units, 3])]
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    shape = [a.full for a in axes]
    tensor = torch.rand(shape)
    permuted = TensorAxes(axes).permute(tensor, {"units": order})
    split = tensor.reshape(*shape[:-1], 2, 4, 3)
    assert torch.equal(permuted, split[..., order, :].reshape(shape))


def test_reduce_sums_everything_but_the_size():
    heads = Size("heads", 3)
    tensor = torch.rand(2 * 3 * 4, 5)
    reduced = TensorAxes([TensorAxis([2, heads, 4]), TensorAxis([5])]).reduce(tensor, heads)
    assert torch.allclose(reduced, tensor.reshape(2, 3, 4, 5).sum((0, 2, 3)))


def test_a_taken_slice_is_differentiable_in_the_full_tensor():
    width = Size("width", 4)
    width.value = 2
    full = torch.rand(4, 3, requires_grad=True)
    TensorAxes([TensorAxis([width]), TensorAxis([3])]).take(full).sum().backward()
    assert torch.equal(full.grad, torch.tensor([[1.0] * 3] * 2 + [[0.0] * 3] * 2))


@given(st.integers(1, 24), st.data())
def test_spread_keeps_what_dynabert_keeps(full, data):
    value = data.draw(st.integers(1, full))
    m_d = value / full
    assert kept_indices(full, value, "spread") == [int(i / m_d + 1e-9) for i in range(value)]


def test_dynabert_published_layers():
    assert kept_indices(12, 9, "spread") == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert kept_indices(12, 6, "spread") == [0, 2, 4, 6, 8, 10]
    assert kept_indices(7, 3, "centre") == [2, 3, 4]


@given(st.integers(1, 4000), st.sampled_from([1, 2, 4, 8, 16]))
def test_make_divisible_never_loses_a_tenth(value, divisor):
    rounded = int(make_divisible(value, divisor))
    assert rounded % divisor == 0
    assert rounded >= 0.9 * value
    assert rounded <= value + divisor


def test_derived_sizes_agree_for_one_subnet_and_for_many():
    import numpy as np

    formula = Derived(("width", "expand"), divisor=8)
    one = [formula.evaluate({"width": w, "expand": e}) for w, e in [(256, 0.2), (512, 0.25), (2048, 0.35)]]
    many = formula.evaluate({"width": np.array([256, 512, 2048]), "expand": np.array([0.2, 0.25, 0.35])})
    assert one == [48, 128, 720] == many.tolist()


def test_choices_are_fractions_or_sizes_and_always_hold_the_full_size():
    assert DimRule((0.5, 0.75, 1.0), multiple=8).resolve(64) == (32, 48, 64)
    assert DimRule((3, 5, 7)).resolve(5) == (3, 5)
    assert DimRule((2, 3)).resolve(4) == (2, 3, 4)
    assert DimRule((0.5,)).resolve(3) == (2, 3)
    assert DimRule((0.2, 0.35), ratio=True).resolve(0) == (0.2, 0.35)
