"""The whole job in seconds: train, measure, search, cut out, export, check, draw."""

import json
from pathlib import Path

import yaml

from elastic.profiles.profile import DeviceProfile
from elastic.searching.result import SearchResult
from elastic.shipping.loading import load_subnet
from elastic.supernet.folder import load_supernet
from trainers.cli.demo import demo
from trainers.jobs.demo import _steps


def test_the_whole_job_and_once_more(config, tmp_path, capsys, monkeypatch):
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
    verified = json.loads((out / "verified.json").read_text())
    assert abs(verified["onnx_accuracy"] - verified["test_accuracy"]) <= 100 / 270  # one image may lie on the edge
    page = (out / "report.html").read_text("utf-8")
    assert result.best.arch.id in page
    assert "Training" in page
    assert "measured again" in page
    assert "off by" in page
    shown = capsys.readouterr().out
    for name in ("report.html", "subnet/model.onnx", "search.json", "profile.json", "train"):
        assert f"demo/{name}" in shown

    steps = _steps(out, "digits", result)
    assert steps[1][1] == "elastic fit --config digits --runs demo --name train"

    checkpoint = (out / "train" / "last.ckpt").read_bytes()
    demo(str(out), str(config), **options)  # keeps the training
    assert (out / "train" / "last.ckpt").read_bytes() == checkpoint
