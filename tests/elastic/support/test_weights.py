"""Tensors of several names are written once, and come back under all of them."""

import copy

import pytest
import text_families
import torch
from safetensors.torch import load_file, load_model, save_file
from small import randomise
from torch import nn

from elastic.errors import CheckpointError
from elastic.support.weights import load_weights, read_weights, save_weights


class TiedLanguageModel(nn.Module):
    """One matrix is the embedding of words and the head."""

    def __init__(self, words=500, width=64):
        super().__init__()
        self.embedding, self.body, self.head = (
            nn.Embedding(words, width),
            nn.Linear(width, width),
            nn.Linear(width, words),
        )
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        return self.head(self.body(self.embedding(ids)))


def same(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.fixture
def model():
    return randomise(TiedLanguageModel())


def test_a_tied_matrix_is_not_doubled(model, tmp_path):
    save_weights(model, tmp_path / "w")
    numbers = sum(parameter.numel() for parameter in model.parameters())
    assert (tmp_path / "w").stat().st_size < 4 * numbers + 1000
    assert set(load_file(tmp_path / "w")) == set(model.state_dict()) - {"head.weight"}
    assert set(read_weights(tmp_path / "w")) == set(model.state_dict())


def test_it_is_loaded_under_each_name(model, tmp_path):
    save_weights(model, tmp_path / "w")
    tied, untied = TiedLanguageModel(), TiedLanguageModel()
    untied.head.weight = nn.Parameter(untied.head.weight.detach().clone())
    for other in (tied, untied):
        load_weights(other, tmp_path / "w")
        assert same(model, other)
    assert tied.head.weight is tied.embedding.weight
    assert not load_model(TiedLanguageModel(), tmp_path / "w")[1]


def test_a_file_that_has_it_twice_is_loaded_too(model, tmp_path):
    """As former versions wrote them."""
    save_file({name: value.clone() for name, value in model.state_dict().items()}, tmp_path / "w")
    loaded = TiedLanguageModel()
    load_weights(loaded, tmp_path / "w")
    assert same(model, loaded)


@pytest.mark.parametrize("name", ["bert with tied decoder", "qwen3 with tied head"])
def test_subnets_of_tied_supernets_are_written_once(name, tmp_path):
    supernet = text_families.supernet(name)
    subnet = supernet.extract(supernet.space.smallest)
    save_weights(subnet, tmp_path / "w")
    numbers = sum(tensor.numel() for tensor in [*subnet.parameters(), *subnet.buffers()])
    assert (tmp_path / "w").stat().st_size < 4 * numbers + 20_000
    other = randomise(copy.deepcopy(subnet), seed=5)
    load_weights(other, tmp_path / "w")
    assert same(subnet, other)


def test_loading_is_strict(model, tmp_path):
    save_weights(nn.Linear(2, 2), tmp_path / "w")
    before = copy.deepcopy(model)
    with pytest.raises(CheckpointError, match="holds another model's weights: it lacks"):
        load_weights(model, tmp_path / "w")
    save_weights(TiedLanguageModel(width=32), tmp_path / "w")
    with pytest.raises(CheckpointError, match=r"weight is \(500, 32\), the model's is \(500, 64\)|body"):
        load_weights(model, tmp_path / "w")
    assert same(before, model)
