"""Supernets in folders: all of them or none, and loaded strictly or not at all."""

import errno
import json
from dataclasses import replace

import pytest
import torch
from disk import contents, full_disk, renames_that_end
from small import SOURCE, randomise

from elastic.errors import CheckpointError, RecipeError
from elastic.supernet.folder import digest_supernet, load_supernet, read_description, save_supernet
from elastic.supernet.source import SupernetSource
from elastic.support.files import write_json
from elastic.support.weights import load_weights


@pytest.fixture
def folder(tmp_path):
    supernet = SOURCE.build()
    randomise(supernet.model)
    return save_supernet(supernet, SOURCE, tmp_path / "net")


def saved_source(folder):
    return SupernetSource.from_dict(read_description(folder)["source"])


def test_a_supernet_survives_its_folder(folder):
    first, second = load_supernet(folder), load_supernet(folder)
    assert replace(saved_source(folder), layout=None) == SOURCE
    assert digest_supernet(first) == digest_supernet(SOURCE.build())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    arch = first.space.sample(1)
    with first.active(arch), second.active(arch), torch.no_grad():
        assert torch.equal(first(images), second(images))


def test_the_digest_is_of_dims_and_shapes_not_of_weights():
    one, other = SOURCE.build(), SOURCE.build()
    randomise(other.model, seed=5)
    assert digest_supernet(one) == digest_supernet(other)
    narrower = SupernetSource.from_dict({**SOURCE.to_dict(), "choices": {"embed": None}}).build()
    assert digest_supernet(one) != digest_supernet(narrower)


def test_a_stored_source_downloads_nothing(tmp_path):
    pretrained = SupernetSource(SOURCE.model, {**SOURCE.model_args, "pretrained": True}, options=SOURCE.options)
    save_supernet(SOURCE.build(), pretrained, tmp_path)
    assert replace(saved_source(tmp_path), layout=None) == SOURCE


@pytest.mark.parametrize("broken", ["support.weights.save", "support.weights.sha256", "supernet.folder.write_json"])
def test_a_full_disk_leaves_the_former_supernet_whole(folder, monkeypatch, broken):
    before = contents(folder)
    supernet = load_supernet(folder)
    randomise(supernet.model, seed=9)
    monkeypatch.setattr(f"elastic.{broken}", full_disk)
    with pytest.raises(OSError, match=r"No space .*/net'"):
        save_supernet(supernet, SOURCE, folder)
    assert contents(folder) == before


@pytest.mark.parametrize("after", [0, 1])
def test_weights_and_their_json_are_of_one_version_or_refused(folder, monkeypatch, after):
    before, supernet = contents(folder), load_supernet(folder)
    randomise(supernet.model, seed=9)
    with monkeypatch.context() as failing:
        renames_that_end(failing, folder, after, PermissionError(errno.EACCES, "held open"))
        with pytest.raises(PermissionError):
            save_supernet(supernet, SOURCE, folder)
    if after:
        with pytest.raises(CheckpointError, match=r"another SHA-256.*write them again"):
            load_supernet(folder)
    else:
        assert contents(folder) == before
    save_supernet(supernet, SOURCE, folder)
    load_supernet(folder)


def test_weights_have_the_mode_of_other_files(folder):
    modes = {path.name: path.stat().st_mode for path in folder.iterdir()}
    assert modes["supernet.safetensors"] == modes["supernet.json"]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("supernet.safetensors", lambda b: b[: len(b) // 2], "can't be read as safetensors"),
        ("supernet.safetensors", lambda b: b[:-4] + b"\0\1\2\3", "isn't the file that was saved"),
        ("supernet.safetensors", lambda b: b"soup", "can't be read as safetensors"),
        ("supernet.json", lambda b: b[:50], "truncated"),
        ("supernet.json", lambda b: b"{}", "it lacks"),
        ("supernet.json", lambda b: b.replace(b'"model"', b'"dish"'), "a supernet's source has"),
        ("supernet.json", lambda b: b.replace(b"48", b"24"), "the layout doesn't fit the model"),
    ],
)
def test_a_broken_folder_is_refused(folder, file, change, message):
    path = folder / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CheckpointError, match=message):
        load_supernet(folder)


def test_a_folder_without_a_supernet_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"supernet\.json doesn't exist; wanted a supernet's description"):
        load_supernet(tmp_path)


@pytest.mark.parametrize("layout", ["saved", "of a former version"])
def test_another_choice_of_dims_is_refused(folder, layout):
    described = json.loads((folder / "supernet.json").read_text())
    if layout == "saved":
        described["source"]["layout"]["dims"]["embed"]["choices"] = [1.0]
    else:
        described["source"] |= {"layout": None, "choices": {"embed": None}}
    write_json(folder / "supernet.json", described)
    with pytest.raises(CheckpointError, match="has other sizes than when it was saved"):
        load_supernet(folder)


def test_weights_that_do_not_fit_leave_the_model_alone(folder):
    model = torch.nn.Linear(2, 2)
    before = model.weight.clone()
    with pytest.raises(CheckpointError, match="holds another model's weights: it lacks"):
        load_weights(model, folder / "supernet.safetensors")
    assert torch.equal(model.weight, before)


def test_an_unknown_model_is_refused_with_names_that_are_near():
    with pytest.raises(RecipeError, match=r"there is no model 'resnet19', .*; did you mean resnet18"):
        SupernetSource("resnet19").build()


def test_an_unknown_tag_and_unknown_arguments_are_refused():
    with pytest.raises(RecipeError, match=r"timm's resnet18 has no pretrained tag 'nonsense'; it has .*tv_in1k"):
        SupernetSource("resnet18.nonsense").build()
    with pytest.raises(RecipeError, match=r"timm's resnet18 can't be made with model_args {'wat': 1}: .*'wat'"):
        SupernetSource("resnet18", {"wat": 1}).build()
