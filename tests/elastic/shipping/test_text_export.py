"""Text models as files: their own loader, transformers' from_pretrained, and ONNX with free batch and sequence."""

import json

import pytest

pytest.importorskip("transformers")

import numpy as np
import torch
import transformers
from elsewhere import loaded_elsewhere
from examples import mostly_swept
from exporting import FLOATS, installed, run_card
from small import randomise
from text_families import CASES, LENGTH, WORDS, inputs, supernet

import elastic
from elastic import SupernetSource
from elastic.errors import ExportError
from elastic.formats import FORMATS
from elastic.formats.compare import TOLERANCE
from elastic.formats.onnx_files import open_onnx, write_onnx
from elastic.shipping.export import export
from elastic.shipping.loading import load_subnet
from elastic.support.inputs import predict
from elastic.upstream.transformers import example_text

ON_FILES = ["bert", "roberta", "distilbert", "electra", "llama"]
OTHERS = [name for name in FLOATS if name != "onnx" and installed(name)]


def shallow(made):
    """A subnet of two layers: PyTorch's exporter takes a second for each."""
    return made.extract(made.space.variant({"depth": 2}, of=made.space.sample(1)))


@torch.no_grad()
def test_any_subnet_loads_by_its_own_program(tmp_path):
    """In half precision, and exported from what was loaded, too."""
    wanted = {}
    for name in ("bert", "roberta with tied decoder", "distilbert", "electra", "llama", "qwen3"):
        made = supernet(name, "eager")
        subnet = made.extract(made.space.sample(3))
        written = export(subnet, tmp_path / name, ["safetensors"], inputs())
        assert written.metrics["params"] == made.params([made.space.sample(3)])[0]
        assert written.metrics["macs"] == made.macs([made.space.sample(3)])[0]
        wanted[name] = predict(subnet, inputs())
        if name in ("bert", "llama"):
            half = subnet.bfloat16()
            assert set(export(half, tmp_path / f"half {name}", example=inputs()).files) == {"model.safetensors"}
            wanted[f"half {name}"] = predict(half, inputs())
    wanted["again"] = predict(exported_again(tmp_path / "again"), inputs())
    outputs = loaded_elsewhere(*((tmp_path / name, inputs()) for name in wanted))
    for name, output in zip(wanted, outputs, strict=True):
        assert torch.equal(output, wanted[name]), name


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bert", {"depth": 2, "hidden": 16}),
        ("roberta", {"depth": 3}),
        ("distilbert", {"depth": 2, "hidden": 32}),
        ("electra", {"depth": 2}),
        ("llama", {"depth": 2, "hidden": 16, "groups": 2}),
        ("mistral", {"depth": 3, "queries": 1}),
        ("qwen2", {"depth": 2, "hidden": 8, "groups": 2, "queries": 1}),
        ("qwen3 with tied head", {"depth": 2, "groups": 2, "hidden": 32}),
    ],
)
@torch.no_grad()
def test_what_a_configuration_can_say_is_saved_and_loaded_by_transformers(name, values, tmp_path):
    made = supernet(name)
    subnet = made.extract(made.space.variant(values))
    subnet.save_pretrained(tmp_path / "saved")
    export(subnet, tmp_path / "exported", example=inputs())
    builder = getattr(transformers, CASES[name].architecture)
    for folder in (tmp_path / "saved", tmp_path / "exported"):
        loaded = builder.from_pretrained(folder).eval()
        assert list(loaded.state_dict()) == list(subnet.state_dict())
        assert torch.equal(predict(loaded, inputs()), predict(subnet, inputs()))
    card = (tmp_path / "exported" / "README.md").read_text()
    assert f'{CASES[name].architecture}.from_pretrained(".")' in card
    assert "library_name: transformers" in card


def test_what_would_be_loaded_with_layers_drawn_at_random_is_not_described(tmp_path):
    sizes = {"d_model": 16, "vocab_size": WORDS, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    sizes |= {"encoder_layers": 4, "decoder_layers": 4, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    model = transformers.BartModel(transformers.BartConfig(**sizes, max_position_embeddings=32)).eval()
    made = elastic.elasticize(model, length=LENGTH)
    export(made.extract(made.space.smallest), tmp_path)
    described = json.loads((tmp_path / "config.json").read_text())
    assert described["loader"]
    assert "architectures" not in described


@torch.no_grad()
@pytest.mark.filterwarnings("ignore")  # PyTorch's exporter talks to its own developers
def test_padding_may_be_on_the_left(tmp_path):
    made = elastic.elasticize(randomise(transformers.BertForMaskedLM(transformers.BertConfig(**CASES["bert"].config))))
    text = {name: tensor.flip(1) for name, tensor in inputs().items()}
    assert text["attention_mask"][0, 0] == 0
    export(made.extract(made.space.smallest), tmp_path, ["onnx"], example=text)


def test_what_a_configuration_cannot_say_is_refused_rather_than_made_at_other_sizes(tmp_path):
    made = supernet("llama")
    export(made.extract(made.space.sample(1)), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["native"] == ""
    with pytest.raises(RuntimeError, match="mismatch"):
        transformers.LlamaForCausalLM.from_pretrained(tmp_path)


@pytest.mark.filterwarnings("ignore")  # PyTorch's exporter talks to its own developers
@pytest.mark.parametrize("name", mostly_swept(ON_FILES, ["bert", "llama"]))
@torch.no_grad()
def test_onnx_computes_the_same_at_any_batch_size_and_length(name, tmp_path):
    subnet = shallow(supernet(name))
    written = export(subnet, tmp_path, ["onnx"])
    assert written.files["model.onnx"]["difference"]["relative"] <= TOLERANCE
    session = open_onnx(tmp_path / "model.onnx", threads=1)
    names = [one.name for one in session.get_inputs()]
    assert names[:2] == ["input_ids", "attention_mask"]
    assert names[2:] == (["token_type_ids"] if name in ("bert", "roberta", "electra") else [])
    assert [one.name for one in session.get_outputs()] == ["logits"]
    for n, length in ((1, 1), (1, 20), (4, 7)):
        text = {key: value for key, value in example_text(subnet.config, length, n).items() if key in names}
        wanted = predict(subnet, text).numpy()
        given = session.run(None, {key: value.numpy() for key, value in text.items()})[0]
        assert np.abs(given - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.filterwarnings("ignore")  # converters and runtimes talk to their own developers
@pytest.mark.parametrize("format_", mostly_swept(OTHERS, ["torch.export"]))
@torch.no_grad()
def test_other_formats_take_text_and_the_card_says_how(format_, tmp_path, monkeypatch):
    subnet = shallow(supernet("bert")).eval()
    export(subnet, tmp_path, [format_])
    if FORMATS[format_].free:
        forward = FORMATS[format_].open(tmp_path / FORMATS[format_].files[0], 1)
        for n, length in ((1, 1), (1, 20), (4, 7)):
            text = example_text(subnet.config, length, n)
            np.testing.assert_allclose(forward(text)[0], predict(subnet, text).numpy(), rtol=1e-3, atol=1e-4)

    def tokenizer(texts, return_tensors, max_length=9, **_):
        text = example_text(subnet.config, max_length, len(texts))
        return text if return_tensors == "pt" else {name: value.numpy() for name, value in text.items()}

    (shown,) = run_card(tmp_path, monkeypatch, tokenizer=tokenizer, texts=["a", "b"], words="a")
    text = tokenizer(range(len(shown)), "pt", 9 if FORMATS[format_].free else 32)
    np.testing.assert_allclose(shown, predict(subnet, text).numpy(), rtol=1e-3, atol=1e-4)


def test_an_example_is_made_up_of_what_the_model_knows(tmp_path):
    made = supernet("bert")
    export(made.extract(made.space.smallest), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["input_size"] == [32]
    text = example_text(made.model.config, LENGTH)
    assert set(text) == {"input_ids", "attention_mask", "token_type_ids"}
    assert text["input_ids"].max() < WORDS
    assert not (text["input_ids"] == made.model.config.pad_token_id).any()
    assert text["attention_mask"].sum(1).tolist() == [LENGTH // 2 + 1, LENGTH]


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")  # PyTorch's exporter talks to its own developers
def test_what_is_given_for_padding_does_not_matter(tmp_path):
    """Where a window holds nothing but padding, PyTorch and onnxruntime make up different outputs."""
    written = export(shallow(supernet("mistral")), tmp_path, ["onnx"])
    assert written.files["model.onnx"]["difference"]["relative"] <= TOLERANCE


OUTPUTS = [
    ("BertModel", ("last_hidden_state", "pooler_output")),
    ("BertForQuestionAnswering", ("start_logits", "end_logits")),
]


@pytest.mark.filterwarnings("ignore")  # PyTorch's exporter talks to its own developers
@pytest.mark.parametrize(("architecture", "wanted"), mostly_swept(OUTPUTS, OUTPUTS[:1]))
@torch.no_grad()
def test_onnx_has_all_outputs_by_their_names(architecture, wanted, tmp_path):
    config = transformers.BertConfig(**CASES["bert"].config)
    made = elastic.elasticize(randomise(getattr(transformers, architecture)(config)))
    subnet = made.extract(made.space.smallest)
    written = export(subnet, tmp_path, ["onnx"])
    assert written.files["model.onnx"]["difference"]["relative"] <= TOLERANCE
    session = open_onnx(tmp_path / "model.onnx", threads=1)
    assert tuple(one.name for one in session.get_outputs()) == wanted
    text = example_text(config, 9)
    given = session.run(None, {one.name: text[one.name].numpy() for one in session.get_inputs()})
    for name, values in zip(wanted, given, strict=True):
        np.testing.assert_allclose(values, getattr(subnet(**text), name).numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("BertForQuestionAnswering", "question-answering"),
        ("BertForTokenClassification", "token-classification"),
        ("BertForMaskedLM", "fill-mask"),
        ("BertModel", "feature-extraction"),
    ],
)
def test_the_card_says_what_the_head_is_for(architecture, task, tmp_path):
    builder = getattr(transformers, architecture)
    export(builder(transformers.BertConfig(**CASES["bert"].config)).eval(), tmp_path)
    assert f"pipeline_tag: {task}\n" in (tmp_path / "README.md").read_text()


def test_files_made_with_texts_of_another_length_stay(tmp_path):
    subnet = shallow(supernet("bert"))
    export(subnet, tmp_path, ["safetensors", "onnx"])
    longer = {name: value.repeat(1, 2)[:, : LENGTH + 3] for name, value in inputs().items()}
    again = export(subnet, tmp_path, example=longer)
    assert "model.onnx" in again.files
    assert (tmp_path / "model.onnx").exists()


def test_a_model_in_half_precision_is_written_as_safetensors_only(tmp_path):
    made = supernet("bert")
    subnet = made.extract(made.space.sample(1)).bfloat16()
    with pytest.raises(ExportError, match=r"onnx takes a model in float32, this is in torch.bfloat16; cast it"):
        export(subnet, tmp_path, ["onnx"])


def exported_again(folder):
    """A subnet whose folder was loaded, and exported from what was loaded."""
    source = SupernetSource("transformers:bert", {**CASES["bert"].config, "num_labels": 3}, "dynabert")
    made = source.build()
    randomise(made.model)
    subnet = made.extract(made.space.smallest)
    export(subnet, folder, arch=made.space.smallest, source=source)
    loaded, config = load_subnet(folder)
    export(loaded, folder, arch=config["arch"], source=source)
    return subnet


@torch.no_grad()
def test_a_folder_is_loaded_and_exported_again(tmp_path):
    subnet = exported_again(tmp_path)
    assert torch.equal(predict(load_subnet(tmp_path)[0], inputs()), predict(subnet, inputs()))


def test_a_single_text_cannot_free_the_batch_size(tmp_path):
    with pytest.raises(ExportError, match="an example batch of 2 or more"):
        write_onnx(CASES["bert"].model(), inputs(1), tmp_path / "a.onnx")
