"""A search for accuracy, robust accuracy and costs at once, and its front under a stronger attack."""

import pytest
import yaml

from elastic.searching.result import SearchResult
from elastic.supernet.evaluation import resized
from elastic.supernet.folder import load_supernet, save_supernet
from elastic.supernet.source import SupernetSource
from trainers.cli.main import main
from trainers.jobs.calibration import calibration_for, first_images
from trainers.jobs.data_section import load_data
from trainers.robust.accuracy import RobustAccuracy, measure_robustness
from trainers.robust.attacks import Threat


@pytest.fixture
def run(source, tmp_path):
    """A run's folder as training leaves it; the network normalises images itself."""
    source = SupernetSource.from_dict({**source.to_dict(), "normalize": {"mean": [0.3], "std": [0.4]}})
    folder = save_supernet(source.build(), source, tmp_path / "run")
    data = {"class_path": "Digits", "init_args": {"batch_size": 16, "raw": True}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return folder


def test_clean_robust_and_costs_are_searched_together(run, tmp_path, capsys):
    out, page = tmp_path / "s.json", tmp_path / "r.html"
    words = ["search", str(run), "--robust", "4/255", "--robust_again", "pgd-3", "--population", "3", "--again", "2"]
    words += ["--generations", "2", "--images", "32", "--out", str(out), "--report", str(page)]
    assert main(words) == 0, capsys.readouterr().err
    result = SearchResult.load(out)
    assert result.maximize == ("accuracy", "robust")
    assert result.minimize == ("macs",)
    assert all(one.metrics["robust"] <= one.metrics["accuracy"] for one in result.candidates)
    assert "robust accuracy" in page.read_text("utf-8")
    assert len(list(tmp_path.glob("s.32-images-????????-linf-0.0156*.jsonl"))) == 1

    again = [one for one in result.candidates if one.measured]
    assert again
    supernet, data = load_supernet(run), load_data(run / "config.yaml")
    fresh = first_images(data.test_dataloader(), 32)
    judge = RobustAccuracy(supernet, fresh, calibration_for(supernet, data), "pgd-3", Threat("linf", "4/255"))
    for one in again:
        images = resized(supernet, one.arch, [images for images, _ in fresh])
        batches = [(sized, labels) for sized, (_, labels) in zip(images, fresh, strict=True)]
        wanted = measure_robustness(judge.subnet(one.arch), batches, ["pgd-3"], Threat("linf", "4/255"))
        assert one.measured["robust"] == wanted["pgd-3"].accuracy
        assert one.measured["accuracy"] == wanted["clean"].accuracy


def test_an_epsilon_in_another_unit_is_refused(run, tmp_path, capsys):
    assert main(["search", str(run), "--robust", "8", "--out", str(tmp_path / "s.json")]) == 2
    assert "8/255" in capsys.readouterr().err


def test_predictors_of_both_accuracies_are_searched(run, tmp_path, capsys):
    out = tmp_path / "s.json"
    words = ["search", str(run), "--robust", "4/255", "--predictor", "12", "--population", "20", "--generations", "5"]
    words += ["--images", "16", "--again", "2", "--robust_again", "pgd-3", "--out", str(out)]
    assert main([*words, "--report", str(tmp_path / "r.html")]) == 0, capsys.readouterr().err
    result = SearchResult.load(out)
    assert result.algorithm == "nsga2"
    assert result.evaluations > 12
    assert {name: facts["n"] for name, facts in result.predictors.items()} == {"accuracy": 12, "robust": 12}
    (measured,) = tmp_path.glob("s.16-images-????????-linf-0.0156*.jsonl")
    assert len(measured.read_text().splitlines()) == 1 + 12
    said = capsys.readouterr().out
    assert "Accuracy is predicted" in said
    assert "Robust accuracy is predicted" in said
    assert "Robust accuracy is predicted" in (tmp_path / "r.html").read_text("utf-8")
