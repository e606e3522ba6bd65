import json

import numpy as np
import pytest
from forked import run_elastic
from PIL import Image

from elastic.errors import UsageError
from trainers.cli.fit import OPTIONS
from trainers.fit_folder import ImageFolderFacts, expand, look_into


def photos(folder, splits=("train", "val"), classes=3, mode="RGB", each=6):
    rng = np.random.default_rng(0)
    for split in splits:
        for k in range(classes):
            place = folder / split / f"class_{k}"
            place.mkdir(parents=True)
            for n in range(each):
                shape = (40, 44, 3) if mode == "RGB" else (40, 44)
                Image.fromarray(rng.integers(0, 255, shape, np.uint8), mode).save(place / f"{n}.png")
    return folder


def long_form(words):
    """The generated configuration of an expanded command line, and the words around it."""
    at = next(k for k, word in enumerate(words) if word.startswith("{"))
    return json.loads(words[at]), words[: at - 1], words[at + 1 :]


@pytest.mark.parametrize("name", ["validation", "val", "valid", "test"])
def test_the_folder_says_classes_channels_and_the_validation_split(tmp_path, name):
    assert look_into(photos(tmp_path, ("train", name))) == ImageFolderFacts(3, 3, name, 18)


def test_class_folders_alone_leave_the_validation_to_a_part_of_the_training_images(tmp_path):
    assert look_into(photos(tmp_path, ("",), 2, "L")) == ImageFolderFacts(2, 1, None, 11)


def test_the_long_form_says_what_was_found(tmp_path):
    folder = photos(tmp_path / "flowers")
    words = ["fit", str(folder), "--model", "resnet18", "--epochs=20", "--lr", "0.01", "--size", "64", "--runs", "r"]
    configuration, before, after = long_form(expand(words))
    assert before == ["fit", "--config", "folder"]
    assert after == ["--name", "flowers", "--runs", "r"]
    supernet, data = configuration["model"]["supernet"], configuration["data"]["init_args"]
    assert supernet["model"] == "resnet18"
    assert supernet["model_args"] == {"num_classes": 3}
    assert supernet["input_size"] == data["input_size"] == [3, 64, 64]
    assert data["root"] == str(folder)
    assert data["val_split"] == "val"
    (phase,) = configuration["model"]["curriculum"]["phases"]
    assert (phase["epochs"], phase["learning_rate"]) == (20, 0.01)


@pytest.mark.parametrize(
    ("splits", "options", "batch"), [(("train", "val"), [], 18), (("",), [], 16), (("",), ["4"], 4)]
)
def test_a_batch_has_no_more_than_the_training_images(tmp_path, splits, options, batch, capsys):
    words = ["fit", str(photos(tmp_path, splits)), "--model", "resnet18"]
    configuration, _, _ = long_form(expand([*words, *(["--batch_size", *options] if options else [])]))
    assert configuration["data"]["init_args"]["batch_size"] == batch
    assert (f"{batch} training images: all are in one batch" in capsys.readouterr().out) == (not options)


def test_options_of_the_long_form_are_left_to_it(tmp_path):
    photos(tmp_path)
    long = [f"{name}=1" for name in (*OPTIONS, "--checkpoint_every", "--trainer", "--verbose") if name != "--config"]
    assert expand(["fit", str(tmp_path), "--model", "resnet18", *long])[-len(long) :] == long


def test_what_is_no_folder_stays_as_it_is():
    for words in (["fit", "--config", "digits"], ["validate", "photos"], ["fit"]):
        assert expand(words) == words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no folder nowhere"),
        (["digits"], r"there is no folder digits; did you mean elastic fit --config digits\?"),
        (["photos", "--epochs"], "--epochs needs a value"),
        (["photos", "--epochs", "many"], "--epochs many: wanted a whole number, 1 or more"),
        (["photos", "--batch_size", "64"], "photos has 18 training images, which .* lower --batch_size 64"),
        (["photos", "--lr", "-1"], "--lr -1: wanted a number above 0"),
        (["photos", "--model", "resnet81"], "did you mean resnet18"),
        (["photos", "--model", "resnet18.in22"], "resnet18 has no pretrained tag 'in22'; it has a1_in1k"),
        (["photos", "--model", "ofa_resnet50"], "a model of timm is trained; for this one write a YAML file"),
        (["photos", "--epoch", "3"], r"no option --epoch; did you mean --epochs\?"),
        (["photos", "--pretrained", "maybe"], "--pretrained maybe: wanted true or false"),
        (["photos", "--method", "sandwhich"], "did you mean sandwich"),
        (["photos", "--method", "compofa", "--lr", "1"], "--method compofa brings phases of its own"),
        (["one"], "has 1 class folders; wanted two or more"),
        (["empty"], "there is no image in"),
        (["broken"], "can't be read as an image"),
    ],
)
def test_objections_are_sentences(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos")
    photos(tmp_path / "one", classes=1)
    for k in range(2):
        (tmp_path / "empty" / f"class_{k}").mkdir(parents=True)
        (tmp_path / "broken" / f"class_{k}").mkdir(parents=True)
        (tmp_path / "broken" / f"class_{k}" / "a.jpg").write_text("no image")
    with pytest.raises((UsageError, LookupError), match=message):
        expand(["fit", *words])


@pytest.mark.parametrize(("splits", "mode"), [(("train", "val"), "RGB"), (("",), "L")])
def test_a_folder_trains_with_one_short_line(tmp_path, splits, mode):
    photos(tmp_path / "photos", splits, 2, mode)
    short = "fit photos --model test_resnet --epochs 1 --size 32 --batch_size 4 --workers 0"
    status, printed = run_elastic(short.split(), tmp_path)
    assert status == 0, printed
    assert f", on {12 if splits[1:] else 1} examples" in printed
    described = json.loads((tmp_path / "runs" / "photos" / "supernet.json").read_text())
    assert described["classes"] == sorted(place.name for place in (tmp_path / "photos" / splits[0]).iterdir())
