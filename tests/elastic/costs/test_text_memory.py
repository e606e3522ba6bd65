"""Peak memory of decoders, whose layers keep keys and values: one group of heads in some layers, several in others."""

import itertools
import random

import pytest

pytest.importorskip("transformers")

from counting import memory_of
from text_families import Case


def decoder(groups, queries, **config):
    heads = {"num_key_value_heads": groups, "num_attention_heads": groups * queries, "num_hidden_layers": 3}
    sizes = {
        "vocab_size": 61,
        "hidden_size": 32,
        "intermediate_size": 48,
        "head_dim": 32,
        "max_position_embeddings": 64,
    }
    return heads | sizes | {"pad_token_id": 1} | config


def assert_counted(supernet, archs):
    one = supernet.example_inputs(seed=0)
    for arch, said in zip(archs, supernet.memory(archs).tolist(), strict=True):
        assert said == memory_of(supernet.extract(arch), one), (dict(arch), supernet.model.config)


def test_one_group_in_some_layers():
    config = decoder(2, 2, num_hidden_layers=2, head_dim=128)
    made = Case("Qwen3ForCausalLM", config, {"choices": {"hidden": None, "depth": None}}).supernet()
    archs = [
        {**made.space.largest, "groups.0": groups, "groups.1": 3 - groups, "queries.0": first, "queries.1": second}
        for groups, first, second in itertools.product((1, 2), repeat=3)
    ]
    assert_counted(made, archs)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(30))
def test_any_heads(seed):
    draw = random.Random(seed)
    config = decoder(draw.choice([1, 2, 4]), draw.choice([1, 2, 3, 4]), head_dim=draw.choice([2, 8, 64]))
    config |= {"hidden_size": draw.choice([16, 64]), "intermediate_size": draw.choice([16, 256])}
    name = draw.choice(["Qwen3ForCausalLM", "Qwen3ForSequenceClassification"])
    made = Case(name, config, {"length": draw.choice([4, 12, 64])}).supernet(draw.choice(["sdpa", "eager"]))
    assert_counted(made, made.space.sample(seed, 20))
