"""BatchNorm statistics under attack: of which images they are, and who asks for them."""

from functools import partial

import pytest
import timm
import torch
import yaml

import elastic
import zoo
from elastic.errors import CheckpointError
from elastic.supernet.folder import load_supernet, save_supernet
from trainers import Adversary
from trainers.batchnorm_settings import describe_statistics, read_statistics
from trainers.cli.main import main
from trainers.jobs.calibration import calibrated
from trainers.jobs.data_section import load_data
from trainers.jobs.trained import open_trained
from trainers.methods.adversary import seeded
from trainers.robust.attacked_batchnorm import recalibrate_attacked

ADVERSARY = Adversary(epsilon=0.2, steps=2, step_size=0.1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return timm.create_model("resnet18", num_classes=10, channels=(8, 16, 16, 24), in_chans=1).eval()


def pixels(n):
    return [torch.rand(16, 1, 32, 32, generator=seeded(at)) for at in range(n)]


def statistics(model):
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


@pytest.mark.parametrize("training", [False, True])
def test_statistics_are_those_of_images_that_deceive_the_model(model, training):
    images = pixels(2)
    recalibrate_attacked(model.train(training), images, ADVERSARY)
    found = statistics(model)
    assert model.training == training

    elastic.recalibrate(model.eval(), images)
    clean = statistics(model)
    attacked = [ADVERSARY.deceive(model, one, model(one).argmax(1), seeded(0, at)) for at, one in enumerate(images)]
    elastic.recalibrate(model, attacked)
    for name, buffer in statistics(model).items():
        torch.testing.assert_close(found[name], buffer)
    assert not torch.equal(found["bn1.running_mean"], clean["bn1.running_mean"])


def test_what_was_made_in_inference_mode_will_do(model):
    images = pixels(1)
    recalibrate_attacked(model, images, ADVERSARY)
    found = statistics(model)
    with torch.inference_mode():
        recalibrate_attacked(model, pixels(1), ADVERSARY)
    assert all(torch.equal(buffer, found[name]) for name, buffer in statistics(model).items())


def test_without_batchnorm_nothing_is_attacked():
    recalibrate_attacked(torch.nn.Linear(2, 2), iter(()), ADVERSARY)


PLAIN = {"distiller": {"class_path": "trainers.methods.distillers.SoftTargets"}}
TRADES = {"distiller": {"class_path": "trainers.robust.losses.TRADES"}}


@pytest.mark.parametrize(
    ("model", "attacked"),
    [
        (PLAIN, False),
        ({"distiller": {"class_path": "trainers.robust.distillers.RSLAD"}}, True),
        ({**PLAIN, "curriculum": {"phases": [{"name": "standard"}, TRADES]}}, True),
        ({**TRADES, "curriculum": {"phases": [{"name": "robust"}, PLAIN]}}, False),
        ({}, False),
    ],
)
def test_a_run_says_how_it_was_trained(source, tmp_path, model, attacked):
    """And what is cut out of it has statistics accordingly."""
    folder = save_supernet(source.build(), source, tmp_path / "run")
    data = {"class_path": "Digits", "init_args": {"batch_size": 16, "raw": True}}
    options = {"epsilon": "0.2", "steps": 2, "step_size": 0.1}
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": data, "model": {**model, "adversary": options}}))
    recalibrate = open_trained(folder).recalibrate
    assert isinstance(recalibrate, partial) == attacked
    if attacked:
        assert recalibrate.keywords["adversary"] == Adversary(**options)
    supernet, images = load_supernet(folder), load_data(folder / "config.yaml")
    arch = supernet.space.smallest
    subnet = calibrated(supernet, arch, images, (), recalibrate)
    plain = calibrated(supernet, arch, images)
    assert torch.equal(subnet.bn1.running_mean, plain.bn1.running_mean) != attacked


@pytest.mark.parametrize("adversary", [None, ADVERSARY])
def test_a_folder_says_by_itself_how_statistics_are_re_estimated(source, tmp_path, adversary):
    """Whatever its configuration says, and without one."""
    folder = save_supernet(source.build(), source, tmp_path / "run", describe_statistics(adversary))
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": TRADES}))
    recalibrate = open_trained(folder).recalibrate
    if adversary is None:
        assert recalibrate is elastic.recalibrate
    else:
        assert recalibrate.keywords["adversary"] == adversary


def test_another_description_of_statistics_is_refused():
    for broken in ({"adversary": {"epsilon": "much"}}, {"adversary": {"dish": 1}}, {"dish": {}}, {"adversary": 3}):
        with pytest.raises(CheckpointError, match="the description of BatchNorm statistics is"):
            read_statistics(broken)


def test_a_folder_that_says_nothing_was_trained_without_attacks(source, tmp_path):
    assert open_trained(save_supernet(source.build(), source, tmp_path)).recalibrate is elastic.recalibrate
    assert open_trained("ofa_mbv3_fashion_mnist").recalibrate is elastic.recalibrate


def test_a_named_supernet_says_what_its_weights_were_trained_under(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recalibrate = open_trained("robust_wrn_fashion_mnist").recalibrate
    assert recalibrate.keywords["adversary"] == Adversary(epsilon=0.1, steps=3, step_size=0.05)
    assert main(["extract", "robust_wrn_fashion_mnist", "--arch", "smallest", "--out", "subnet"]) == 0
    supernet = zoo.load("robust_wrn_fashion_mnist")
    subnet = supernet.extract(supernet.space.smallest).eval()
    recalibrate(subnet, zoo.calibration("robust_wrn_fashion_mnist"))
    found, _ = elastic.load_subnet("subnet")
    assert all(torch.equal(buffer, found.get_buffer(name)) for name, buffer in subnet.named_buffers())
