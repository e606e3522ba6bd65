"""What a model says of itself through its library, and what an ordinary module says."""

import pytest
import timm
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

from elastic.errors import ExportError, LayoutError
from elastic.upstream import library_of

TINY = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def resnet():
    return timm.create_model("resnet18", num_classes=7, in_chans=1)


@pytest.fixture(scope="module")
def bert():
    return BertForSequenceClassification(BertConfig(vocab_size=20, num_labels=3, **TINY))


class Own(nn.Linear):
    """A module of nobody's library."""


def test_the_class_of_a_model_or_one_that_it_inherits_from_says_which_library_it_comes_from(resnet, bert):
    class Mine(type(resnet)):
        pass

    resnet_of_mine = timm.create_model("resnet18", num_classes=7, in_chans=1)
    resnet_of_mine.__class__ = Mine
    names = [library_of(model).name for model in (resnet, resnet_of_mine, bert, Own(2, 3))]
    assert names == ["timm", "timm", "transformers", ""]


def test_models_say_their_classes_and_inputs(resnet, bert):
    image, text = library_of(resnet), library_of(bert)
    assert (image.classes, image.input_size, image.image_size) == (7, (1, 224, 224), (1, 224, 224))
    assert (image.vocabulary, image.longest_text) == (None, None)
    assert (text.classes, text.input_size, text.vocabulary, text.longest_text) == (3, None, 20, 512)
    assert text.text_length(None) == 128
    assert library_of(LlamaForCausalLM(LlamaConfig(vocab_size=20, **TINY))).vocabulary == 20


def test_a_model_is_given_another_input_size(resnet):
    other = timm.create_model("resnet18", num_classes=7, in_chans=1)
    library_of(other).set_input_size((1, 96, 96))
    assert library_of(other).input_size == (1, 96, 96)
    assert library_of(resnet).input_size == (1, 224, 224)


def test_a_text_is_made_of_the_models_own_ids_and_the_first_is_padded(bert):
    text = library_of(bert).example_text(9, 3)
    assert {name: tuple(one.shape) for name, one in text.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), (3, 9)
    )
    assert text["attention_mask"].sum(1).tolist() == [5, 9, 9]
    assert bert.config.pad_token_id not in text["input_ids"]


@pytest.mark.parametrize("length", [0, 513, "9"])
def test_a_length_that_a_model_does_not_take_is_refused(length, bert):
    with pytest.raises(LayoutError, match=r"1 to 512 tokens|wanted a number of tokens"):
        library_of(bert).text_length(length)


def test_an_ordinary_module_says_nothing_that_only_a_library_knows():
    own = library_of(Own(2, 3))
    assert (own.input_size, own.vocabulary, own.longest_text, own.first_convolution) == (None, None, None, None)
    assert (own.image_size, own.preprocessing(3), own.build_arguments({})) == ((3, 224, 224), {}, None)
    with pytest.raises(AttributeError):
        own.classes  # noqa: B018 - a property
    with pytest.raises(ExportError, match="Own doesn't say what text it reads; pass example="):
        own.example_text(4)


def test_preprocessing_is_for_images_of_as_many_channels(resnet):
    assert set(library_of(resnet).preprocessing(3)) == {"mean", "std", "interpolation", "crop_pct"}
    assert library_of(resnet).preprocessing(1) == {}


def test_every_family_names_classes_that_there_are():
    from importlib import import_module

    from elastic.upstream.families import FAMILIES

    for names in FAMILIES.values():
        for module, _, cls in (name.partition(":") for name in names):
            assert issubclass(getattr(import_module(module), cls), nn.Module)


def test_examples_are_the_same_for_each_call(bert):
    one, two = (library_of(bert).example_text(5) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
