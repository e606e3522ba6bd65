"""Models of transformers by name: fresh ones by type, published ones by folder, and what can't be made."""

import re

import pytest
import torch
from small import randomise

from elastic.errors import RecipeError
from elastic.supernet.source import SupernetSource
from elastic.upstream.building import build_transformer

transformers = pytest.importorskip("transformers")

TINY = {
    "vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 16,
}  # fmt: skip


def test_a_type_gives_a_fresh_model_with_the_head_asked_for():
    model = build_transformer("transformers:bert", {**TINY, "num_labels": 3})
    assert type(model) is transformers.BertForSequenceClassification
    assert model.config.num_labels == 3
    assert model.training
    heads = {"masked_lm": "BertForMaskedLM", "none": "BertModel"}
    for head, expected in heads.items():
        assert type(build_transformer("transformers:bert", {**TINY, "head": head})).__name__ == expected


def test_a_folder_gives_a_published_model_and_its_weights_where_asked(tmp_path):
    published = randomise(transformers.BertForSequenceClassification(transformers.BertConfig(**TINY))).eval()
    published.save_pretrained(tmp_path)
    name, ids = f"transformers:{tmp_path}", torch.randint(0, 20, (2, 7))
    loaded = SupernetSource(name, {"pretrained": True}, recipe="dynabert").build().eval()
    assert torch.equal(loaded(ids).logits, published(ids).logits)
    fresh = SupernetSource(name, {"pretrained": True}).untrained()
    assert fresh.model_args == {}
    assert fresh.build().space.size > 12
    assert build_transformer(name, {"num_hidden_layers": 1}).config.num_hidden_layers == 1
    with pytest.raises(RecipeError, match="has no 'num_hiden_layers'; did you mean num_hidden_layers"):
        build_transformer(name, {"num_hiden_layers": 1})
    with pytest.raises(RecipeError, match=r"can't make .*: .*mismatch|can't make .*size"):
        build_transformer(name, {"pretrained": True, "num_labels": 5})


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("transformers:bert", {"pretrained": True}, "^bert is a type of model, which has no weights; name a published"),
        ("transformers:bert", {"head": "tail"}, r"no head 'tail'; choose one of classification, masked_lm"),
        ("transformers:nowhere/at_all", {}, r"give a type such as bert, a published model's name .*, or its folder"),
        ("transformers:bert", {"hiden_size": 8}, "of 'bert' has no 'hiden_size'; did you mean hidden_size"),
        ("transformers:gpt2", {"n_experts_": 8}, "configuration of 'gpt2' has no 'n_experts_'"),
        ("transformers:bert", {**TINY, "num_attention_heads": 3}, "can't make 'bert' with .*: The hidden size"),
    ],
)
def test_what_cannot_be_made_is_said(name, args, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable is read at import
    with pytest.raises(RecipeError, match=message):
        build_transformer(name, args)


@pytest.mark.parametrize(
    ("own", "cure"),
    [
        ("brt", "did you mean bart, bert or"),
        ("lama", "did you mean .*llama"),
        ("./nowhere/at/all", "types are bert, llama and the like"),
        ("nowhere.yaml", "types are bert"),
        ("/nowhere/at_all", "types are bert"),
        ("a/b/c", "types are bert"),
        ("-1", "types are bert"),
        ("", "types are bert"),
    ],
)
def test_a_name_that_cannot_be_meant_is_refused_without_asking_the_network(own, cure, monkeypatch):
    def asked(*_, **__):
        raise AssertionError("asked the network")

    monkeypatch.setattr("socket.socket.connect", asked)
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", asked)
    for args in ({}, {"pretrained": True}):
        with pytest.raises(RecipeError, match=rf"no type of model '{re.escape(own)}', .* OWNER/NAME; {cure}"):
            build_transformer(f"transformers:{own}", args)


def test_what_was_downloaded_by_a_former_name_is_found(monkeypatch):
    config = transformers.BertConfig(**TINY)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda name, file: f"cache/{name}/{file}")
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", lambda *_, **__: (config, {}))
    assert type(build_transformer("transformers:bert-base-uncased", {})).__name__ == "BertForSequenceClassification"


def test_fields_that_a_configuration_keeps_under_other_names_are_taken():
    tiny = {**TINY, "num_key_value_heads": 2, "rope_theta": 500.0, "head": "causal_lm"}
    assert "500" in str(build_transformer("transformers:llama", tiny).config)


@pytest.mark.parametrize("given", [{"input_size": [3, 32, 32]}, {"normalize": {"mean": [0.5], "std": [0.2]}}])
def test_what_is_for_images_is_refused_for_text(given):
    for build in (SupernetSource.build, SupernetSource.build_model):
        with pytest.raises(RecipeError, match=f"reads tokens; {next(iter(given))} is for images, leave it out"):
            build(SupernetSource("transformers:bert", TINY, **given))
