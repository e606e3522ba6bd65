"""From published weights, a device profile and a folder of images to a network for the device, in one command."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from small import randomise

import elastic
import zoo
from elastic.errors import CheckpointError, TrainingError
from elastic.layers.batchnorm import recalibrate
from elastic.searching.result import SearchResult
from elastic.supernet.evaluation import resized
from elastic.supernet.folder import load_supernet
from elastic.supernet.registry import register_supernets
from elastic.supernet.source import SupernetSource
from elastic.support.weights import save_weights
from trainers.cli.main import main
from trainers.jobs.calibration import CALIBRATION_BATCHES
from trainers.jobs.trained import open_trained
from zoo.catalog import find
from zoo.entry import Weights

NAME = "ofa_mbv3_cifar10"
pytestmark = pytest.mark.filterwarnings(r"ignore:unclosed file .*\.png:ResourceWarning")  # timm leaves it to Python


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Gives the supernet pretrained weights."""
    supernet = zoo.create(NAME)
    randomise(supernet.model)
    (tmp_path / "weights").mkdir()
    digest = save_weights(supernet.model, tmp_path / "weights" / "drawn.safetensors")
    monkeypatch.setattr("zoo.entry.files", lambda _: tmp_path)
    register_supernets({NAME: replace(find(NAME), weights=Weights("drawn.safetensors", digest), license="MIT")})
    yield supernet.eval()
    register_supernets({NAME: find(NAME)})


@pytest.fixture
def folder(tmp_path):
    """Generated images of ten classes: 30 to train on, 20 to choose by."""
    root, rng = tmp_path / "images", np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2)):
        for k in range(10):
            (root / split / f"class_{k}").mkdir(parents=True)
            for n in range(count):
                pixels = rng.integers(0, 255, (40, 36, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / f"class_{k}" / f"{n}.png")
    return root


def test_one_command_specialises_published_weights(published, folder, tmp_path, capsys):
    profile, result, out = tmp_path / "p.json", tmp_path / "s.json", tmp_path / "subnet"
    words = ["--subnets", "8", "--blocks", "0", "--time_limit", "0.1", "--accept_noise", "true"]
    assert main(["profile", NAME, "--out", str(profile), "--resolutions", "28,32", *words]) == 0
    words = ["--population", "3", "--generations", "2", "--images", "16", "--again", "1", "--out", str(result)]
    words += ["--profile", str(profile), "--budget", "macs=1e6", "--data", str(folder)]
    assert main(["search", NAME, *words, "--extract", str(out), "--formats", "onnx"]) == 0, capsys.readouterr().err

    best = SearchResult.load(result).best
    subnet, about = elastic.load_subnet(out)
    assert about["arch"] == dict(best.arch)
    assert best.arch["resolution"] in (28, 32)
    assert replace(SupernetSource.from_dict(about["source"]), layout=None) == SupernetSource(NAME)
    assert about["preprocessing"]["mean"] == list(published.model.pretrained_cfg["mean"])
    assert about["metrics"].items() >= best.metrics.items()
    assert (out / "model.onnx").exists()
    assert "| license | MIT |" in (out / "README.md").read_text()

    plain = published.extract(best.arch)
    batches = list(islice(open_trained(NAME).data(str(folder)).calibration_batches(), CALIBRATION_BATCHES))
    assert sum(map(len, batches)) == 30
    recalibrate(plain, resized(published, best.arch, batches))
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in subnet.state_dict().items())

    again = tmp_path / "again"
    assert main(["extract", NAME, "--result", str(result), "--data", str(folder), "--out", str(again)]) == 0
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_a_name_is_as_good_as_a_folder(published):
    loaded, wanted = load_supernet(NAME), published.model.state_dict()
    assert not loaded.training
    assert all(torch.equal(value, wanted[key]) for key, value in loaded.model.state_dict().items())
    with pytest.raises(CheckpointError, match="did you mean ofa_mbv3_cifar10"):
        load_supernet("ofa_mbv3_cifar")


def test_a_folder_of_other_classes_is_refused(published, image_folder):
    with pytest.raises(TrainingError, match="images has 3 classes in its split 'train', the supernet 10; give"):
        open_trained(NAME).data(str(image_folder)).setup("fit")


def test_a_name_without_data_says_what_to_pass(published, capsys):
    assert main(["search", NAME]) == 2
    assert "give some, a folder of images (train/CLASS/*, val/CLASS/*)" in capsys.readouterr().err
