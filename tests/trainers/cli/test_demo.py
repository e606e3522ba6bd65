"""The whole job in seconds: train, measure, search, cut out, export, check, draw."""

from pathlib import Path

import yaml

from elastic.profiles.profile import DeviceProfile
from elastic.searching.result import SearchResult
from elastic.shipping.loading import load_subnet
from elastic.supernet.folder import load_supernet
from trainers.cli.demo import _steps, demo


def test_the_whole_job(config, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = Path("demo")
    options = {"subnets": 8, "time_limit": 0.2, "population": 3, "generations": 2, "runtime": "torch"}
    values = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({key: value for key, value in values.items() if key not in ("runs", "name")}))
    demo(str(out), str(config), **options)
    supernet = load_supernet(out / "train")
    profile = DeviceProfile.load(out / "profile.json")
    profile.check_supernet(supernet)
    result = SearchResult.load(out / "search.json")
    limit = result.subject_to["latency_ms"]
    assert all(one.metrics["latency_ms"] <= limit for one in result.candidates)
    _, facts = load_subnet(out / "subnet")
    assert facts["arch"] == dict(result.best.arch)
    assert facts["files"]["model.onnx"]["difference"]["relative"] <= facts["files"]["model.onnx"]["tolerance"]
    page = (out / "report.html").read_text("utf-8")
    assert result.best.arch.id in page
    assert "Training" in page
    assert "measured again" in page
    assert "off by" in page
    assert "smallest" in page
    shown = capsys.readouterr().out
    for words in ("fit --config", "profile demo/train", "profile check demo/train", "search demo/train"):
        assert f"$ elastic {words}" in shown
    assert "open demo/report.html" in shown

    _, words = next(_steps(out, str(config), "", 1.0, "", 0))
    assert words[-2:] == ["--ckpt_path", "last"], "once more, it keeps the training"
