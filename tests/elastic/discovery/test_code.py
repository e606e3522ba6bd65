"""What a model's own code does with numbers and outputs: caches, tables, records, operators of several outputs."""

import warnings
from collections import namedtuple
from dataclasses import dataclass
from functools import lru_cache

import pytest
import torch
from small import randomise
from torch import nn

import elastic
from elastic.errors import RecipeError
from elastic.support.tensors import tensors_in


def exact(supernet, x, archs=2):
    """Each of some archs gives, cut out, what it gives in place."""
    for arch in (supernet.space.smallest, *supernet.space.sample(0, archs)):
        with torch.no_grad(), supernet.active(arch):
            active = tensors_in(supernet(x))
        subnet = supernet.extract(arch)
        with torch.no_grad():
            found = tensors_in(subnet(supernet.resize(x)))
        assert active
        assert all(map(torch.equal, active, found))
        assert sum(one.numel() for one in subnet.parameters()) == supernet.params(arch)
    return supernet


# --- numbers --------------------------------------------------------------------------------------------------


@lru_cache(64)
def split_shape(shape, heads):
    *outer, width = shape
    return *outer, heads, width // heads


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads, self.scale = 4, 4**-0.5
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x):
        parts = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (part.view(split_shape(tuple(part.shape), self.heads)).transpose(1, 2) for part in parts)
        return x + self.out(((q @ k.mT * self.scale).softmax(-1) @ v).transpose(1, 2).flatten(2))


def attentions():
    return randomise(nn.Sequential(nn.Linear(4, 16), Attention(), Attention(), nn.Linear(16, 3)).eval())


@pytest.mark.parametrize("run_before", [False, True])
def test_numbers_stay_out_of_caches(run_before):
    split_shape.cache_clear()
    x = torch.randn(2, 5, 4)
    for wrap in (nn.Identity(), nn.Sequential()):
        model = nn.Sequential(wrap, *attentions())
        if run_before:
            model(x)
        supernet = exact(elastic.elasticize(model, input_size=(5, 4)), x)
        heads = {dim.name for dim in supernet.space.dims if dim.kind == "heads"}
        assert len(heads) == 2
        subnet = supernet.extract(supernet.space.smallest)
        assert [subnet[at].heads for at in (2, 3)] == [subnet[at].qkv.out_features // 12 for at in (2, 3)] == [2, 2]


class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last, self.kind = nn.Linear(4, 16), nn.Linear(16, 3), 2

    def forward(self, x):
        return self.last({1: torch.relu, 2: torch.tanh}[self.kind](self.first(x)))


def test_numbers_are_found_in_tables():
    supernet = exact(elastic.elasticize(randomise(Table()).eval(), input_size=(4,)), torch.randn(2, 4))
    assert supernet.space.size > 1


# --- outputs --------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    logits: torch.Tensor
    more: object


class Record:
    def __init__(self, logits, more):
        self.logits, self.more = logits, more


class Slots:
    __slots__ = ("logits", "more")

    def __init__(self, logits, more):
        self.logits, self.more = logits, more


Pair = namedtuple("Pair", "logits more")


class Opaque:
    """Hides its tensor in a closure."""

    def __init__(self, logits, more):
        self.get = lambda: logits


class Gives(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.first, self.hidden, self.head = kind, nn.Linear(4, 32), nn.Linear(32, 16), nn.Linear(16, 10)

    def forward(self, x):
        features = self.hidden(self.first(x).relu())
        return self.kind(self.head(features), {"features": [features]})


@pytest.mark.parametrize("kind", [Answer, Record, Slots, Pair, lambda *both: both, lambda *both: dict(enumerate(both))])
def test_outputs_of_any_kind_keep_their_shapes(kind):
    x = torch.randn(2, 4)
    supernet = exact(elastic.elasticize(randomise(Gives(kind)).eval(), input_size=(4,)), x)
    subnet = supernet.extract(supernet.space.smallest)
    assert [tuple(one.shape) for one in tensors_in(subnet(x))] == [(2, 10), (2, 16)]
    assert subnet.first.out_features == 16


def test_an_output_without_a_tensor_to_be_seen_is_refused():
    with pytest.raises(RecipeError, match="no tensor can be seen in the Opaque"):
        elastic.elasticize(Gives(Opaque).eval(), input_size=(4,))


class Along(nn.Module):
    """Applies an operator that may give several tensors to `(N, channels, length)`."""

    def __init__(self, code):
        super().__init__()
        self.code, self.conv, self.head = code, nn.Conv1d(4, 32, 3, padding=1), nn.LazyLinear(3)

    def forward(self, x):
        return self.head(self.code(self.conv(x)).flatten(1))


SEVERAL = {
    "max": lambda x: x.max(2).values,
    "min": lambda x: torch.min(x, 1, keepdim=True)[0],
    "maximum": lambda x: torch.max(x, x.flip(2)),
    "topk": lambda x: x.topk(3, 2).values,
    "topk of channels": lambda x: x.topk(3, 1)[0],
    "sort": lambda x: x.sort(2).values,
    "sort of channels": lambda x: x.sort(1).values,
    "split": lambda x: torch.split(x, 16, 1)[0] * x.split(16, 1)[1],
    "cumsum": lambda x: x.cumsum(1),
    "median": lambda x: x.median(2).values,
    "aminmax": lambda x: sum(torch.aminmax(x, dim=2)),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_operators_that_give_several_tensors(name):
    model, x = Along(SEVERAL[name]).eval(), torch.randn(2, 4, 6)
    model(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nothing is elastic
        supernet = exact(elastic.elasticize(randomise(model), input_size=(4, 6)), x)
    assert (supernet.space.size > 1) == (name in {"max", "min", "maximum", "topk", "sort"})
