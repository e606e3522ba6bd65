"""The commands that need images, over a supernet with BatchNorm that nobody has trained."""

import pytest
import torch

from elastic.layers.batchnorm import recalibrate
from elastic.shipping.loading import load_subnet
from elastic.supernet.evaluation import resized
from elastic.supernet.folder import load_supernet
from trainers import Digits
from trainers.cli.extract import extract
from trainers.cli.main import main
from trainers.jobs.calibration import CALIBRATION_BATCHES, first_images
from trainers.jobs.data_section import load_data


def test_extract_re_estimates_batchnorm(run, tmp_path):
    supernet = load_supernet(run)
    arch = supernet.space.sample(1)
    extract(str(run), arch.to_json(), out=str(tmp_path / "sub"))
    subnet, _ = load_subnet(tmp_path / "sub")
    plain = supernet.extract(arch)
    data = load_data(run / "config.yaml")
    batches = [one for one, _ in zip(data.calibration_batches(), range(CALIBRATION_BATCHES), strict=False)]
    recalibrate(plain, resized(supernet, arch, batches))
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in subnet.state_dict().items())


def test_an_extracted_subnet_says_how_its_images_were_prepared(run, tmp_path):
    extract(str(run), "largest", out=str(tmp_path / "sub"))
    assert load_subnet(tmp_path / "sub")[1]["preprocessing"] == Digits().preprocessing
    assert "'divisor': 16" in (tmp_path / "sub" / "README.md").read_text()
    supernet = load_supernet(run)
    small = supernet.space.variant({"resolution": min(supernet.space["resolution"].choices)})
    extract(str(run), small.to_json(), out=str(tmp_path / "sub"))
    says = load_subnet(tmp_path / "sub")[1]
    assert says["preprocessing"].pop("then_resized_to")["size"] == says["input_size"][1:] != [32, 32]
    assert says["preprocessing"] == Digits().preprocessing


@pytest.mark.parametrize("words", [["--arch", "largest"], []])
def test_an_exported_subnet_is_written_again_as_it_is_without_data(run, tmp_path, words, capsys):
    extract(str(run), load_supernet(run).space.sample(1).to_json(), out=str(tmp_path / "sub"))
    again = ["extract", str(tmp_path / "sub"), *words, "--out", str(tmp_path / "again")]
    assert main(again) == 0, capsys.readouterr().err
    (subnet, config), (other, written) = (load_subnet(tmp_path / name) for name in ("sub", "again"))
    assert subnet.bn1.running_mean.abs().sum() > 0
    same = other.state_dict()
    assert all(torch.equal(value, same[name]) for name, value in subnet.state_dict().items())
    assert written["input_size"] == config["input_size"]


def test_only_as_many_images_as_asked_are_taken():
    batches = [(torch.zeros(4, 1), torch.zeros(4)) for _ in range(5)]
    assert len(first_images(batches, 9)) == 3
    assert len(first_images(batches, 100)) == 5
