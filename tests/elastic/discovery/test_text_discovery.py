"""Any transformer: text models without a recipe of their own are discovered by watching them read token ids."""

import copy
import json
from functools import cache

import pytest

pytest.importorskip("transformers")

import torch
import transformers
from counting import macs_of, memory_of, params_of
from elsewhere import loaded_elsewhere
from examples import mostly_swept
from small import randomise
from text_families import LENGTH, WORDS, inputs

import elastic
from elastic import SupernetSource
from elastic.errors import LayoutError, RecipeError
from elastic.layout.sorting import is_sortable
from elastic.shipping.export import export
from elastic.support.inputs import predict

_SMALL = {"vocab_size": WORDS, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 2}
_GPT2 = {**_SMALL, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 32}
_BERT = {
    **_SMALL, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 32,
}  # fmt: skip
_GROUPS = {**_BERT, "num_key_value_heads": 2, "head_dim": 8}
SHARED = {"depth", "embed", "groups", "hidden", "queries"}  # heads that share keys and values
WIDE, DEEP = {"embed", "heads", "hidden"}, {"depth", "heads", "hidden"}
ALL = WIDE | DEEP
CASES = {
    "GPT2LMHeadModel": (_GPT2, ALL),
    "GPT2ForSequenceClassification": (_GPT2, ALL),
    "GPTNeoXForCausalLM": (_BERT, ALL),
    "OPTForCausalLM": (
        {**_SMALL, "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64, "num_attention_heads": 4,
         "num_hidden_layers": 4, "max_position_embeddings": 32}, ALL,
    ),
    "BloomForCausalLM": ({**_SMALL, "hidden_size": 32, "n_layer": 4, "n_head": 4}, {"depth", "hidden", "width"}),
    "GemmaForCausalLM": (_GROUPS, SHARED),
    "Phi3ForCausalLM": (_GROUPS, {"depth", "hidden", "width"}),
    "MixtralForCausalLM": ({**_GROUPS, "num_local_experts": 2}, {"depth", "groups", "queries"}),
    "T5EncoderModel": (
        {"vocab_size": WORDS, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 4, "num_heads": 4}, DEEP,
    ),
    "AlbertForMaskedLM": ({**_BERT, "embedding_size": 16}, WIDE),
    "DebertaV2ForSequenceClassification": (_BERT, ALL),
    "ModernBertForMaskedLM": ({**_BERT, "cls_token_id": 2, "sep_token_id": 2}, ALL),
    "XLMRobertaForTokenClassification": (_BERT, ALL),
    "MambaForCausalLM": ({**_SMALL, "hidden_size": 32, "num_hidden_layers": 4}, {"depth", "width"}),
}  # fmt: skip
ALIKE = {"GPT2ForSequenceClassification", "XLMRobertaForTokenClassification"}  # GPT2LMHeadModel; the recipe's RoBERTa
families = pytest.mark.parametrize("name", mostly_swept(CASES, set(CASES) - ALIKE))


def plain(name):
    builder = getattr(transformers, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return randomise(builder(builder.config_class(**CASES[name][0])))


@cache
def supernet(name):
    return elastic.elasticize(plain(name), length=LENGTH)


def some_archs(made):
    return [made.space.smallest, *made.space.sample(1, 2)]


@families
@torch.no_grad()
def test_what_is_discovered_is_exact(name):
    model, made = plain(name), supernet(name)
    assert {dim.kind for dim in made.space.dims} >= CASES[name][1]
    assert torch.equal(predict(made, inputs()), predict(model, inputs()))
    assert list(made.model.state_dict()) == list(model.state_dict())
    for arch in some_archs(made):
        subnet = made.extract(arch)
        with made.active(arch):
            active = predict(made, inputs())
        assert torch.isfinite(active).all()
        assert torch.equal(active, predict(subnet, inputs()))
        assert {type(module).__module__.partition(".")[0] for module in subnet.modules()} <= {"transformers", "torch"}
        assert made.params([arch]) == [params_of(subnet)]
        assert made.macs([arch]) == [macs_of(subnet, torch.zeros(1, LENGTH, dtype=torch.int64))]
        assert made.memory([arch]) == [memory_of(subnet, torch.zeros(1, LENGTH, dtype=torch.int64))]


@families
@torch.no_grad()
def test_sorting_leaves_the_full_network_as_it_was(name):
    made, generator = copy.deepcopy(supernet(name)), torch.Generator().manual_seed(2)
    before = predict(made, inputs())
    sizes = [size for size in made.layout.sizes.values() if is_sortable(size, made.layout)]
    made.sort({size.name: torch.rand(size.full, generator=generator) for size in sizes})
    assert (predict(made, inputs()) - before).abs().max() <= 1e-4 * before.abs().max()


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith("ForCausalLM") or "LMHead" in name])
@torch.no_grad()
def test_generating_with_a_cache(name):
    made, how = supernet(name), {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 1}
    prompt = {"input_ids": inputs()["input_ids"][1:], "attention_mask": inputs()["attention_mask"][1:]}
    for arch in some_archs(made):
        subnet = made.extract(arch)
        with made.active(arch):
            active = made.model.generate(**prompt, **how)
        assert torch.equal(active, subnet.generate(**prompt, **how))
        assert torch.equal(active, subnet.generate(**prompt, **how, use_cache=False))


@torch.no_grad()
def test_subnets_load_by_their_own_program(tmp_path):
    names = ["GPT2LMHeadModel", "GemmaForCausalLM", "DebertaV2ForSequenceClassification"]
    subnets = {name: supernet(name).extract(supernet(name).space.sample(4)) for name in names}
    for name, subnet in subnets.items():
        export(subnet, tmp_path / name, ["safetensors"], inputs())
        assert json.loads((tmp_path / name / "config.json").read_text())["loader"]
    for name, output in zip(names, loaded_elsewhere(*((tmp_path / name, inputs()) for name in names)), strict=True):
        assert torch.equal(output, predict(subnets[name], inputs())), name


@torch.no_grad()
def test_a_model_that_takes_one_text_at_a_time_is_discovered_too():
    """For want of a token for padding."""
    config = transformers.GPT2Config(**{**_GPT2, "pad_token_id": None})
    made = elastic.elasticize(transformers.GPT2ForSequenceClassification(config).eval(), length=LENGTH)
    assert {dim.kind for dim in made.space.dims} == ALL
    subnet, one = made.extract(made.space.smallest), inputs()["input_ids"][1:2]
    with made.active(made.space.smallest):
        assert torch.equal(predict(made, one), predict(subnet, one))
    assert made.macs([made.space.smallest]) == [macs_of(subnet, torch.zeros(1, LENGTH, dtype=torch.int64))]


def test_a_supernet_is_made_by_the_name_of_its_type():
    made = SupernetSource("transformers:gpt2", {**_GPT2, "head": "causal_lm"}, options={"length": 9}).build()
    assert made.input_shape() == (9,)
    assert made.recipe.vocabulary == WORDS


def test_what_is_for_other_models_is_refused():
    with pytest.raises(RecipeError, match="takes text, which has no resolutions and no input_size; pass length"):
        elastic.elasticize(plain("GPT2LMHeadModel"), input_size=(3, 8, 8))
    with pytest.raises(RecipeError, match="length=3 is for text, and Linear isn't a model of transformers"):
        elastic.elasticize(torch.nn.Linear(2, 2), length=3)
    with pytest.raises(LayoutError, match="length=40: this GPT2LMHeadModel takes 1 to 32 tokens"):
        elastic.elasticize(plain("GPT2LMHeadModel"), length=40)
    with pytest.raises(LayoutError, match="length='9': wanted a number of tokens, an int"):
        elastic.elasticize(plain("GPT2LMHeadModel"), length="9")
    with pytest.raises(RecipeError, match=r"wanted a model, such as timm.create_model\(NAME\) gives, got 'gpt2'"):
        elastic.elasticize("gpt2")
    config = transformers.T5Config(**CASES["T5EncoderModel"][0])
    with pytest.raises(RecipeError, match=r"T5\w+ can.t be run on a text of 128 tokens alone, .*: .*input_ids"):
        elastic.elasticize(transformers.T5ForConditionalGeneration(config))
