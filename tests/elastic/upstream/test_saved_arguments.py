"""What a saved supernet says of its model is data: nothing in it runs code, reads files or asks the network."""

import json
import socket
from pathlib import Path

import pytest
import torch

from elastic.errors import CheckpointError
from elastic.supernet.folder import load_supernet, save_supernet
from elastic.supernet.source import SupernetSource
from elastic.support.inputs import predict
from elastic.upstream.saved_arguments import saved_arguments

SMALL = {"num_classes": 3, "channels": [8, 8, 8, 8], "layers": [1, 1, 1, 1]}
BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 99}


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Every connection is refused, and counted."""
    asked = []

    def refuse(*place, **_):
        asked.append(place)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    yield
    assert not asked


@pytest.fixture
def theirs(tmp_path):
    """A folder with a supernet of a network from elsewhere; a change of its source's is written into it."""
    source = SupernetSource("resnet18", SMALL, input_size=[3, 32, 32])
    folder = save_supernet(source.build(), source, tmp_path / "theirs")

    def changed(**changes):
        described = json.loads((folder / "supernet.json").read_text())
        described["source"] |= changes
        (folder / "supernet.json").write_text(json.dumps(described))
        return folder

    return changed


@pytest.mark.parametrize(
    "args",
    [
        {"pretrained": True},
        {"pretrained": True, "pretrained_cfg": "a1_in1k"},
        {"checkpoint_path": "theirs.pth"},
        {"pretrained": True, "pretrained_cfg_overlay": {"url": "http://127.0.0.1:9/x", "hf_hub_id": None}},
        {"pretrained": True, "pretrained_cfg_overlay": {"file": "theirs.pth"}},
        {"pretrained": True, "pretrained_cfg": {"hf_hub_id": "them/theirs", "custom_load": True}},
        {"cache_dir": "/tmp/theirs"},
        {"trust_remote_code": False},
    ],
)
def test_where_weights_are_is_left_out(args, theirs, tmp_path):
    (tmp_path / "theirs.pth").write_bytes(b"no weights")
    assert load_supernet(theirs(model_args={**SMALL, **args})).space


@pytest.mark.parametrize(
    "source",
    [
        {"model_args": {"trust_remote_code": True}},
        {"model_args": {"note": {"class_path": "os.system", "init_args": {"command": "touch called"}}}},
        {"model_args": {"note": [{"auto_map": {"AutoConfig": "theirs.Config"}}]}},
        {"options": {"note": {"class_path": "os.system"}}},
        {"model_args": {"block": "/etc/passwd"}},
        {"model_args": {"norm_layer": "http://127.0.0.1:9/x"}},
        {"model_args": {"block": "../theirs"}},
        {"model_args": {"attn_implementation": "them/theirs"}},
        {"model": "hf-hub:them/theirs"},
        {"model": "local-dir:theirs"},
        {"model_args": {"width_per_group": 10**12}},
        {"model_args": {"width_per_group": float("nan")}},
        {"model_args": {"no such": 1}},
        {"model_args": {"layers": -1}},
        {"model_args": {"num_classes": "many"}},
        {"model_args": []},
        {"model": 3},
        {"model": "no such model"},
        {"model": "transformers:them/theirs"},
        {"model": "transformers:theirs", "model_args": {}},
        {"choices": {"depth": "many"}},
        {"arch": {"depth": "x"}},
        {"normalize": {"mean": [0.5]}},
        {"layout": []},
        {"layout": {"layout": 3}},
    ],
)
def test_what_names_code_files_or_addresses_is_refused(source, theirs, tmp_path):
    (tmp_path / "hostile.py").write_text("from pathlib import Path\nPath('called').touch()\n")
    with pytest.raises(CheckpointError) as said:
        load_supernet(theirs(**source))
    assert "\n" not in str(said.value)
    assert not (tmp_path / "called").exists()


def test_code_of_a_published_model_isnt_run(theirs, tmp_path):
    published = tmp_path / "published"
    published.mkdir()
    described = {"model_type": "theirs", "auto_map": {"AutoConfig": "configuration_theirs.Config"}}
    (published / "config.json").write_text(json.dumps(described))
    (published / "configuration_theirs.py").write_text("from pathlib import Path\nPath('called').touch()\n")
    with pytest.raises(CheckpointError):
        load_supernet(theirs(model="transformers:published", model_args={}, layout=None))
    assert not (tmp_path / "called").exists()


def test_a_published_model_is_saved_without_its_place(tmp_path):
    from transformers import BertConfig

    BertConfig(**BERT, id2label={0: "a/b", 1: "c"}).save_pretrained(tmp_path / "published")
    source = SupernetSource("transformers:published", {"head": "classification", "hidden_dropout_prob": 0.25})
    supernet = source.build().eval()
    folder = save_supernet(supernet, source, tmp_path / "run")
    (tmp_path / "published/config.json").unlink()
    loaded = load_supernet(folder)
    saved = json.loads((folder / "supernet.json").read_text())["source"]
    assert saved["model"] == "transformers:bert"
    config = loaded.model.config
    assert (config.hidden_dropout_prob, config.id2label) == (0.25, {0: "a/b", 1: "c"})
    with torch.inference_mode():
        text = supernet.example_inputs()
        assert torch.equal(predict(supernet, text), predict(loaded, text))


def test_a_folder_of_timms_is_saved_without_its_place(tmp_path):
    (tmp_path / "published").mkdir()
    described = {"architecture": "resnet18", "num_classes": 3, "model_args": {"channels": [8, 8, 8, 8]}}
    (tmp_path / "published/config.json").write_text(json.dumps({**described, "pretrained_cfg": {}}))
    source = SupernetSource("local-dir:published", input_size=[3, 32, 32])
    supernet = source.build()
    folder = save_supernet(supernet, source, tmp_path / "run")
    Path("published/config.json").unlink()
    assert str(load_supernet(folder).space) == str(supernet.space)
    assert json.loads((folder / "supernet.json").read_text())["source"]["model"] == "resnet18"


def test_what_says_what_images_are_like_stays():
    overlay = {"input_size": [1, 28, 28], "mean": [0.5], "url": "http://127.0.0.1:9/x"}
    kept = saved_arguments({"pretrained": True, "pretrained_cfg_overlay": overlay, "num_classes": 3})
    assert kept == {"pretrained_cfg_overlay": {"input_size": [1, 28, 28], "mean": [0.5]}, "num_classes": 3}
