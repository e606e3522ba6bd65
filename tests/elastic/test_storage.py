"""Files are written whole or not at all, and loaded strictly or not at all."""

import errno
import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from small import randomise

from elastic.building import SupernetSource
from elastic.errors import CheckpointError, RecipeError
from elastic.storage import (
    digest_supernet,
    load_source,
    load_supernet,
    load_weights,
    read_json,
    remove_with,
    save_supernet,
    staged,
    write_json,
    write_text,
)

SOURCE = SupernetSource(
    "vit_tiny_patch16_224",
    {"num_classes": 5, "img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3},
    options={"resolutions": [16, 32]},
)


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def folder(tmp_path):
    supernet = SOURCE.build()
    randomise(supernet.model)
    return save_supernet(supernet, SOURCE, tmp_path / "net")


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_a_supernet_survives_its_folder(folder):
    first, second = load_supernet(folder), load_supernet(folder)
    assert load_source(folder) == SOURCE
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
    assert load_source(tmp_path) == SOURCE


@pytest.mark.parametrize("broken", ["save", "sha256", "write_json"])
def test_a_full_disk_leaves_the_former_supernet_whole(folder, monkeypatch, broken):
    before = contents(folder)
    supernet = load_supernet(folder)
    randomise(supernet.model, seed=9)
    monkeypatch.setattr(f"elastic.storage.{broken}", full_disk)
    with pytest.raises(OSError, match=r"No space .*/net'"):
        save_supernet(supernet, SOURCE, folder)
    assert contents(folder) == before


def test_ctrl_c_leaves_the_former_file_whole(tmp_path):
    path = write_text(tmp_path / "a.txt", "before")

    def interrupted():
        with staged(tmp_path) as stage:
            (stage / "a.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


# --- several files at once ----------------------------------------------------------------------------------


class Killed(BaseException):
    """In the place of SIGKILL."""


def renames_that_end(monkeypatch, folder, after, error, forever=False):
    """So many renames into the folder work, the next one raises; or all from there on."""
    renames = []

    def ending(really):
        def rename(path, target):
            into = Path(target).parent == folder
            renames.extend([target] * into)
            if len(renames) > after and (forever or (into and len(renames) == after + 1)):
                raise error
            return really(path, target)

        return rename

    for name in ("rename", "replace"):
        monkeypatch.setattr(Path, name, ending(getattr(Path, name)))
    return renames


def replace_all(folder):
    """Two files are replaced, one is new, and one goes."""
    with staged(folder) as stage:
        (stage / "weights").write_text("new")
        (stage / "more").write_text("new")
        (stage / "about.json").write_text('{"version": "new"}')
        remove_with(stage, "extra")


@pytest.fixture
def several(tmp_path):
    for name, text in (("weights", "old"), ("extra", "old"), ("about.json", '{"version": "old"}'), ("mine", "mine")):
        (tmp_path / name).write_text(text)
    return tmp_path


OLD = {"weights": b"old", "extra": b"old", "about.json": b'{"version": "old"}', "mine": b"mine"}
NEW = {"weights": b"new", "more": b"new", "about.json": b'{"version": "new"}', "mine": b"mine"}


def test_files_move_in_together_and_their_description_last(several, monkeypatch):
    renames = renames_that_end(monkeypatch, several, 100, None)
    replace_all(several)
    assert contents(several) == NEW
    assert [path.name for path in renames[1:-1]] == ["more", "weights", "about.json"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "held open"), KeyboardInterrupt()])
def test_a_move_that_fails_leaves_all_as_it_was(several, monkeypatch, error, after, links):
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", full_disk)
    renames_that_end(monkeypatch, several, after, error)
    with pytest.raises(type(error)):
        replace_all(several)
    assert contents(several) == OLD


@pytest.mark.parametrize("after", range(5))
def test_a_process_killed_between_two_moves_loses_nothing(several, monkeypatch, after):
    with monkeypatch.context() as dead:
        renames_that_end(dead, several, after, Killed(), forever=True)
        dead.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            replace_all(several)
    assert read_json(several / "about.json", CheckpointError, "a description")["version"] == ("new" if after else "old")
    for stage in several.glob(".staged-*"):  # they are swept once they are old
        shutil.rmtree(stage)
    assert contents(several) == (NEW if after else OLD)


def test_what_killed_processes_staged_is_swept_once_it_is_old(tmp_path):
    for name, hours in ((".staged-old_old_", 25), (".staged-young___", 1), (".staged-mine", 25)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("half")
        os.utime(tmp_path / name, times=(time.time() - hours * 3600,) * 2)
    write_text(tmp_path / "a.txt", "a")
    assert {path.name for path in tmp_path.iterdir()} == {".staged-young___", ".staged-mine", "a.txt"}


@pytest.mark.parametrize("after", [1, 2])
def test_weights_and_their_json_stay_of_one_version(folder, monkeypatch, after):
    before, supernet = contents(folder), load_supernet(folder)
    randomise(supernet.model, seed=9)
    renames_that_end(monkeypatch, folder, after, PermissionError(errno.EACCES, "held open"))
    with pytest.raises(PermissionError):
        save_supernet(supernet, SOURCE, folder)
    assert contents(folder) == before
    load_supernet(folder)


def test_other_files_stay_and_modes_are_ordinary(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    path = write_json(tmp_path / "a.json", {"a": 1})
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert path.stat().st_mode & 0o777 == (tmp_path / "mine.txt").stat().st_mode & 0o777


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
        ("supernet.json", lambda b: b.replace(b"48", b"24"), "holds another model's weights|tuple|is \\("),
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


def test_another_choice_of_dims_is_refused(folder):
    described = json.loads((folder / "supernet.json").read_text())
    described["source"]["choices"] = {"embed": None}
    write_json(folder / "supernet.json", described)
    with pytest.raises(CheckpointError, match="the recipe offers other dims"):
        load_supernet(folder)


def test_weights_that_do_not_fit_leave_the_model_alone(folder):
    model = torch.nn.Linear(2, 2)
    before = model.weight.clone()
    with pytest.raises(CheckpointError, match="holds another model's weights: it lacks"):
        load_weights(model, folder / "supernet.safetensors")
    assert torch.equal(model.weight, before)


def test_an_unknown_model_is_refused_with_names_that_are_near():
    with pytest.raises(RecipeError, match=r"timm has no model 'resnet19'; similar names: .*"):
        SupernetSource("resnet19").build()


def test_an_unknown_tag_and_unknown_arguments_are_refused():
    with pytest.raises(RecipeError, match=r"timm's resnet18 has no pretrained tag 'nonsense'; it has .*tv_in1k"):
        SupernetSource("resnet18.nonsense").build()
    with pytest.raises(RecipeError, match=r"timm's resnet18 can't be made with model_args {'wat': 1}: .*'wat'"):
        SupernetSource("resnet18", {"wat": 1}).build()
