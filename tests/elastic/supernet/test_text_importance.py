"""Importance as DynaBERT publishes it, against masks on heads and formulas for neurons."""

import copy

import pytest

pytest.importorskip("transformers")

import torch
from examples import few
from hypothesis import given
from hypothesis import strategies as st
from text_families import CASES, DECODERS, WORDS, inputs

import elastic
from elastic.support.inputs import predict


def batches(seed, labels=2):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(2):
        ids = torch.randint(3, WORDS, (3, 8), generator=generator)
        yield inputs() | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, torch.tensor([0, 1, labels - 1])


class Masked(torch.nn.Module):
    """A layer whose input is units of several channels, each multiplied by a mask of its own."""

    def __init__(self, layer, units):
        super().__init__()
        self.layer = layer
        self.mask = torch.ones(units, requires_grad=True)

    def forward(self, x):
        return self.layer((x.unflatten(-1, (len(self.mask), -1)) * self.mask[:, None]).flatten(-2))


def masked(model, name, units):
    """The model with a mask in front of each layer of that name."""
    model, masks = copy.deepcopy(model), []
    for path, module in list(model.named_modules()):
        if path.endswith(name):
            parent = model.get_submodule(path.removesuffix(f".{name.rpartition('.')[2]}"))
            setattr(parent, name.rpartition(".")[2], wrapped := Masked(module, units))
            masks.append(wrapped.mask)
    return model, masks


@pytest.mark.parametrize(
    ("case", "output"),
    [("bert", "attention.output.dense"), ("roberta", "attention.output.dense"), ("distilbert", "attention.out_lin")],
)
@given(seed=st.integers(0, 2**31))
@few
def test_a_head_scores_the_gradient_of_its_mask(case, output, seed):
    plain, masks = masked(CASES[case].model(), output, units=4)
    wanted = [torch.zeros(4) for _ in masks]
    for x, labels in batches(seed):
        gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(plain(**x).logits, labels), masks)
        for score, gradient in zip(wanted, gradients, strict=True):
            score += gradient.abs()
    found = elastic.importance(CASES[case].supernet(), "taylor", batches(seed))
    for layer, score in enumerate(wanted):
        torch.testing.assert_close(found[f"heads.{layer}"], score)


@pytest.mark.parametrize("recipe", ["bert", "dynabert"])
@given(seed=st.integers(0, 2**31))
@few
def test_a_neuron_scores_what_it_makes_and_what_reads_it(recipe, seed):
    plain, made = CASES["bert"].model(), CASES[recipe].supernet()
    found = elastic.importance(made, "taylor", batches(seed))
    layer = plain.bert.encoder.layer[1]
    w1, b1, w2 = layer.intermediate.dense.weight, layer.intermediate.dense.bias, layer.output.dense.weight
    wanted = torch.zeros(64)
    for x, labels in batches(seed):
        loss = torch.nn.functional.cross_entropy(plain(**x).logits, labels)
        g1, gb, g2 = torch.autograd.grad(loss, [w1, b1, w2])
        wanted += ((w1 * g1).sum(1) + b1 * gb).detach().abs() + (w2 * g2).sum(0).detach().abs()
    torch.testing.assert_close(found["hidden.1"], wanted)


def test_groups_and_queries_score_the_gradient_of_their_masks():
    def loss(logits, labels):
        return logits.square().mean()

    plain, masks = masked(DECODERS["llama"].model(), "self_attn.o_proj", units=8)
    groups, queries = torch.zeros(4), torch.zeros(2)
    for x, _ in batches(0):
        gradient = torch.autograd.grad(loss(plain(**x, use_cache=False).logits, None), masks)[2].reshape(4, 2)
        groups += gradient.sum(1).abs()
        queries += gradient.sum(0).abs()
    found = elastic.importance(DECODERS["llama"].supernet(), "taylor", batches(0), loss)
    torch.testing.assert_close(found["groups.2"], groups)
    torch.testing.assert_close(found["queries.2"], queries)


def test_rewiring_keeps_the_output_and_puts_the_important_first():
    made = CASES["dynabert"].supernet().double()
    before, scores = predict(made, inputs()), elastic.importance(made, "taylor", batches(1))
    made.sort(scores)
    assert (predict(made, inputs()) - before).abs().max() <= 1e-6
    for name, score in elastic.importance(made, "taylor", batches(1)).items():
        torch.testing.assert_close(score, scores[name].sort(descending=True).values)
