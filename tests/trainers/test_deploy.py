"""The verbs that need images, over a supernet with BatchNorm that nobody has trained."""

import pytest
import torch
import yaml

from elastic.batchnorm import recalibrate
from elastic.errors import BudgetError, CheckpointError
from elastic.evaluation import accuracy, resized
from elastic.export import load_subnet
from elastic.profiling import measure_profile
from elastic.result import SearchResult
from elastic.storage import load_supernet, save_supernet
from trainers import Digits
from trainers.cli import main
from trainers.configurations import UsageError
from trainers.deploy import CALIBRATION_BATCHES, extract, first_images, load_data, search


@pytest.fixture
def run(source, tmp_path):
    """A run's folder as training leaves it: the supernet and its configuration."""
    folder = save_supernet(source.build(), source, tmp_path / "run")
    data = {"class_path": "Digits", "init_args": {"batch_size": 16}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return folder


def test_search_then_extract(run, tmp_path, capsys):
    supernet = load_supernet(run)
    measure_profile(supernet, subnets=8, time_limit=0.1).save(tmp_path / "p.json")
    out, page = tmp_path / "s.json", tmp_path / "r.html"
    words = ["search", str(run), "--profile", str(tmp_path / "p.json"), "--budget", "latency_ms=1000,macs=1e6"]
    words += ["--population", "3", "--generations", "2", "--images", "32", "--out", str(out), "--report", str(page)]
    assert main(words) == 0
    assert page.exists()
    result = SearchResult.load(out)
    assert len(result.candidates) == 6
    assert all(one.figures["macs"] <= 1e6 for one in result.candidates)
    assert result.best.arch.id in capsys.readouterr().out

    assert main(["extract", str(run), "--result", str(out), "--out", str(tmp_path / "sub")]) == 0
    subnet, config = load_subnet(tmp_path / "sub")
    assert config["arch"] == dict(result.best.arch)
    data = load_data(run / "config.yaml")
    batches = first_images(data.val_dataloader(), 32)
    images = resized(supernet, result.best.arch, [one for one, _ in batches])
    again = accuracy(subnet, zip(images, [labels for _, labels in batches], strict=True))
    assert again == result.best.figures["accuracy"]


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


def test_the_search_takes_as_many_threads_as_asked(run, tmp_path, monkeypatch):
    seen, before = [], torch.get_num_threads()

    def fruitless(*_, **__):
        seen.append(torch.get_num_threads())
        raise BudgetError("nothing found")

    monkeypatch.setattr("trainers.deploy.run_search", fruitless)
    for threads in (1, 2):
        with pytest.raises(BudgetError):
            search(str(run), out=str(tmp_path / "s.json"), threads=threads)
    assert seen == [1, 2]
    assert torch.get_num_threads() == before


def test_only_as_many_images_as_asked_are_taken():
    batches = [(torch.zeros(4, 1), torch.zeros(4)) for _ in range(5)]
    assert len(first_images(batches, 9)) == 3
    assert len(first_images(batches, 100)) == 5


def test_mistakes_end_in_one_clear_sentence(run, tmp_path):
    with pytest.raises(BudgetError, match="needs a device profile"):
        search(str(run), "latency_ms=8", out=str(tmp_path / "s.json"))
    assert not (tmp_path / "s.json").exists()
    with pytest.raises(UsageError, match="--images 0: wanted 1 or more"):
        search(str(run), images=0)
    with pytest.raises(UsageError, match="--threads 0: wanted 1 or more"):
        search(str(run), threads=0)
    (run / "config.yaml").write_text("model: {}")
    with pytest.raises(CheckpointError, match="has no data section"):
        search(str(run))
    (run / "config.yaml").write_text("data: {class_path: Soup}")
    with pytest.raises(CheckpointError, match="has no data section that can be understood"):
        search(str(run))
    (run / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match="doesn't exist; pass --data"):
        search(str(run))
