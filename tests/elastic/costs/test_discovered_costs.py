"""Costs of discovered models: attention on fewer tokens, one head in some stages, windows of tokens."""

import pytest
import timm
import torch
from counting import macs_of, memory_of
from examples import mostly_swept
from small import randomise

import elastic


def pyramid():
    model = timm.create_model("pvt_v2_b0", num_classes=5, depths=(1, 1, 2, 1))
    return elastic.elasticize(randomise(model), input_size=(3, 64, 64), choices={"resolution": None})


def segmenter():
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_sizes": [16, 24, 40, 48], "num_attention_heads": [1, 2, 4, 8], "depths": [1, 2, 1, 1]}
    config = transformers.SegformerConfig(**sizes, decoder_hidden_size=32, num_labels=5)
    return elastic.elasticize(randomise(transformers.SegformerForSemanticSegmentation(config)), input_size=(3, 64, 64))


def decoder():
    transformers = pytest.importorskip("transformers")
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "num_hidden_layers": 3}
    sizes = {"hidden_size": 32, "intermediate_size": 48, "vocab_size": 61, "sliding_window": 5, "pad_token_id": 1}
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    config = transformers.Gemma3TextConfig(**heads, **sizes, layer_types=kinds, max_position_embeddings=64)
    return elastic.elasticize(randomise(transformers.Gemma3ForCausalLM(config)), length=12)


@pytest.mark.parametrize("make", mostly_swept([pyramid, segmenter, decoder], [pyramid, decoder]))
def test_formula_is_counter(make):
    with torch.random.fork_rng(devices=[]):
        supernet = make()
    archs = [supernet.space.smallest, supernet.space.largest, *supernet.space.sample(0, 2)]
    for arch, macs, memory in zip(archs, supernet.macs(archs), supernet.memory(archs), strict=True):
        subnet, one = supernet.extract(arch), supernet.example_inputs(arch, seed=0)
        assert (macs, memory) == (macs_of(subnet, one), memory_of(subnet, one))
