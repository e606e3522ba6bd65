"""Sorting keeps the full network's output; importance says what it says it says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import FAMILIES, mobilenet, vit

import elastic
from elastic.errors import LayoutError

families = pytest.mark.parametrize("family", FAMILIES)


@families
@given(seed=st.integers(0, 2**31))
def test_any_order_keeps_the_full_output(family, seed):
    supernet = FAMILIES[family]()
    x = torch.randn(2, *supernet.input_shape())
    before = supernet(x)
    generator = torch.Generator().manual_seed(seed)
    scores = elastic.importance(supernet)
    supernet.sort({name: torch.rand(score.shape, generator=generator) for name, score in scores.items()})
    torch.testing.assert_close(supernet(x), before, rtol=1e-4, atol=1e-4)
    arch = supernet.space.sample(seed)
    with supernet.active(arch):
        assert torch.equal(supernet(x), supernet.extract(arch)(supernet.resize(x)))


@families
@pytest.mark.parametrize("kind", ["l1", "l2", "taylor"])
def test_after_sorting_importance_descends(family, kind):
    supernet = FAMILIES[family]()
    batches = [(torch.randn(4, *supernet.input_shape()), torch.randint(0, 5, (4,))) for _ in range(2)]
    scores = elastic.importance(supernet, kind, batches)
    kinds = {"vit": {"embed", "heads", "hidden"}, "mobilenet": {"mid", "width", "stem", "head"}}[family]
    assert {name.split(".")[0] for name in scores} >= kinds
    assert all(score.shape == (supernet.layout.sizes[name].full,) for name, score in scores.items())
    supernet.sort(scores)
    for name, score in elastic.importance(supernet, kind, batches).items():
        torch.testing.assert_close(score, scores[name].sort(descending=True).values, rtol=1e-3, atol=1e-4)


def test_l1_of_a_channel_is_that_of_the_projection_that_reads_it():
    supernet = mobilenet()
    projection = supernet.model.blocks[1][0].conv_pwl._parameters["weight"]
    expected = projection.detach().abs().sum((0, 2, 3))
    torch.testing.assert_close(elastic.importance(supernet)["mid.1.0"], expected)


def test_taylor_of_a_neuron_against_its_formula():
    supernet = vit()
    x, y = torch.randn(4, 3, 32, 32), torch.randint(0, 5, (4,))
    loss = torch.nn.functional.cross_entropy(supernet(x), y)
    mlp = supernet.model.blocks[1].mlp
    first, bias, second = mlp.fc1._parameters["weight"], mlp.fc1._parameters["bias"], mlp.fc2._parameters["weight"]
    g1, gb, g2 = torch.autograd.grad(loss, [first, bias, second])
    made = ((first * g1).sum(1) + bias * gb).abs()
    read = (second * g2).sum(0).abs()
    supernet.train()
    score = elastic.importance(supernet, "taylor", [(x, y)])["hidden.1"]
    torch.testing.assert_close(score, (made + read).detach())
    assert supernet.training
    assert all(p.grad is None for p in supernet.parameters())


@families
def test_taylor_while_training_in_place_is_taylor(family):
    supernet = FAMILIES[family]()
    batches = [(torch.randn(2, *supernet.input_shape()), torch.tensor([0, 1]))]
    expected = elastic.importance(supernet, "taylor", batches)
    assert all(score.sum() > 0 for score in expected.values())
    active = supernet.space.sample(0)
    with supernet.training_in_place(), supernet.active(active):
        supernet(batches[0][0])
        found = elastic.importance(supernet, "taylor", batches)
        assert supernet.layout.aliases()
        with supernet.active(supernet.space.largest):
            supernet.zero_grad(set_to_none=False)
            torch.nn.functional.cross_entropy(supernet(batches[0][0]), batches[0][1]).backward()
        assert any(p.grad is not None and p.grad.any() for p in supernet.parameters())
    assert not supernet.layout.aliases()
    for name, score in expected.items():
        torch.testing.assert_close(found[name], score)


def test_what_cannot_be_sorted_is_refused():
    supernet = mobilenet()
    with pytest.raises(LayoutError, match=r"can't sort 'kernel.1.0'"):
        supernet.sort({"kernel.1.0": torch.rand(5)})
    with pytest.raises(LayoutError, match=r"wanted 48 scores, got shape \(3,\)"):
        supernet.sort({"mid.1.0": torch.rand(3)})
    with pytest.raises(ValueError, match="unknown"):
        elastic.importance(supernet, "l3")
    with pytest.raises(LayoutError, match=r"score 3 isn't a number"):
        supernet.sort({"mid.1.0": torch.where(torch.arange(48) == 3, torch.nan, 1.0)})
    with pytest.raises(ValueError, match="needs batches"):
        elastic.importance(supernet, "taylor")
    with pytest.raises(ValueError, match="got no batches"):
        elastic.importance(supernet, "taylor", [])
    supernet.requires_grad_(False)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        elastic.importance(supernet, "taylor", [(torch.randn(2, 3, 32, 32), torch.zeros(2, dtype=torch.long))])


@families
@given(seed=st.integers(0, 2**31), n=st.integers(1, 3))
def test_sorting_within_widths_keeps_their_subnets(family, seed, n):
    supernet = FAMILIES[family]()
    within = supernet.space.narrow({dim.name: dim.choices[-n:] for dim in supernet.space.dims})
    x, archs = torch.randn(2, *supernet.input_shape()), [within.smallest, *within.sample(seed, 2)]

    def outputs():
        found = []
        for arch in archs:
            with supernet.active(arch):
                found.append(supernet(x))
        return found

    before, generator = outputs(), torch.Generator().manual_seed(seed)
    scores = {name: torch.rand(s.shape, generator=generator) for name, s in elastic.importance(supernet).items()}
    supernet.sort(scores, within=within)
    for one, other in zip(before, outputs(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
