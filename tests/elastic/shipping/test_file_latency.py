"""Latency of exported files: a row for each runtime, on the card with the device. Nothing here asserts a time."""

import json

import pytest
import torch
from exporting import installed
from small import vit

from elastic.errors import ProfileError
from elastic.formats import FORMATS
from elastic.shipping.export import export
from elastic.timing.protocol import describe_device
from elastic.timing.records import Conditions


@pytest.fixture
def subnet(monkeypatch):
    monkeypatch.setattr("elastic.shipping.file_latency.SECONDS", 0.01)
    supernet = vit()
    return supernet.extract(supernet.space.smallest)


def example():
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_each_file_is_timed_in_its_runtime_and_pytorch_too(subnet, tmp_path, monkeypatch):
    monkeypatch.setattr(Conditions, "objections", lambda *_: ["the neighbours were loud"])
    written = export(subnet, tmp_path, ["safetensors", "onnx", "torch.export"], example(), latency=True)
    rows = written.latency["runs"]
    pytorch, onnxruntime, program = (
        f"PyTorch {torch.__version__}, eager",
        FORMATS["onnx"].runs_on,
        FORMATS["torch.export"].runs_on,
    )
    openvino = [("model.onnx", FORMATS["openvino"].runs_on)] if installed("openvino") else []
    wanted = [("", pytorch), ("model.onnx", onnxruntime), ("model.pt2", program), *openvino]
    assert [(row["file"], row["runtime"]) for row in rows] == wanted
    assert all(row["median_ms"] > 0 and row["uncertainty"] >= 0 for row in rows)
    assert json.loads((tmp_path / "config.json").read_text())["latency"] == written.latency
    card = (tmp_path / "README.md").read_text()
    assert describe_device()["processor"] in card
    assert f"| `model.onnx` | {onnxruntime} |" in card
    assert "The measurements are noisy: the neighbours were loud." in card
    again = export(subnet, tmp_path, ["safetensors"], example())  # of the same subnet: metrics stay with the files
    assert again.latency == {}
    assert json.loads((tmp_path / "config.json").read_text())["latency"] == written.latency


def test_impossible_threads_are_refused(subnet, tmp_path):
    with pytest.raises(ProfileError, match=r"threads \(0\)"):
        export(subnet, tmp_path, ["onnx"], example(), latency=True, threads=0)
    assert not any(tmp_path.iterdir())
