"""The command export, and int8 from extract: in a folder, with the data of a run and without."""

from pathlib import Path

import pytest
import torch
import yaml

from elastic.errors import CheckpointError, ExportError
from elastic.shipping.loading import load_subnet
from elastic.supernet.folder import load_supernet
from trainers.cli.export import export
from trainers.cli.extract import extract
from trainers.cli.main import main


@pytest.fixture
def subnet(run, tmp_path):
    """An extracted subnet's folder; its run has Digits."""
    out = str(tmp_path / "subnet")
    extract(str(run), "smallest", out=out)
    return out


@pytest.fixture
def data(run):
    return str(run / "config.yaml")


def config_of(folder):
    return load_subnet(folder)[1]


def test_a_format_is_added_to_a_folder(subnet, capsys):
    before = config_of(subnet)
    export(subnet, "onnx")
    after = config_of(subnet)
    assert set(after["files"]) == {"model.safetensors", "model.onnx"}
    assert {key: after[key] for key in before if key != "files"} == {k: v for k, v in before.items() if k != "files"}
    assert after["files"]["model.safetensors"] == before["files"]["model.safetensors"]
    shown = " ".join(capsys.readouterr().out.split())
    assert "onnxruntime" in shown
    assert "1e-04" in shown
    export(subnet, "safetensors")
    assert config_of(subnet)["files"] == after["files"]


def test_formats_go_to_a_folder_of_their_own(subnet, tmp_path):
    export(subnet, "torch.export", out=str(tmp_path / "program"))
    assert {path.name for path in (tmp_path / "program").iterdir()} == {"model.pt2", "config.json", "README.md"}


def test_extract_measures_int8_on_the_runs_own_data(run, tmp_path):
    extract(str(run), "smallest", out=str(tmp_path / "int8"), formats="onnx-int8")
    facts = config_of(tmp_path / "int8")["files"]["model.int8.onnx"]
    assert facts["calibrated_on"] == 128  # 8 batches of 16
    assert facts["accuracy"]["inputs"] > 100
    card = (tmp_path / "int8" / "README.md").read_text()
    assert "| data | Digits |" in card
    assert f"accuracy {facts['accuracy']['after']:.2f} %" in card


def test_export_takes_a_data_section(subnet, data, monkeypatch, capsys):
    monkeypatch.setattr("elastic.shipping.file_latency.SECONDS", 0.01)
    words = ["--formats", "onnx,onnx-int8", "--data", data, "--images", "40", "--latency", "true"]
    assert main(["export", subnet, *words]) == 0, capsys.readouterr().err
    config = config_of(subnet)
    assert config["files"]["model.int8.onnx"]["accuracy"]["inputs"] == 48  # whole batches
    assert [row["file"] for row in config["latency"]["runs"]][:3] == ["", "model.onnx", "model.int8.onnx"]
    assert "latency on" in capsys.readouterr().out
    card = (Path(subnet) / "README.md").read_text()
    assert "on 48 validation inputs" in card
    assert "| `model.int8.onnx` | onnxruntime" in card


@pytest.mark.sweep  # half a minute, for a network of 16 blocks
def test_a_named_supernets_subnet_is_calibrated_on_what_comes_with_it(tmp_path, capsys):
    folder = str(tmp_path / "subnet")
    assert main(["extract", "ofa_mbv3_fashion_mnist", "--arch", "smallest", "--out", folder]) == 0
    assert main(["export", folder, "--formats", "onnx-int8"]) == 0, capsys.readouterr().err
    agreement = config_of(folder)["files"]["model.int8.onnx"]["agreement"]
    assert agreement["inputs"] > 100
    assert agreement["percent"] > 80


@pytest.mark.parametrize("words", [["export", "SUBNET"], ["zoo", "import", "ofa_mbv3_fashion_mnist"]])
def test_a_device_is_an_option(words, subnet, tmp_path, capsys):
    words = [subnet if word == "SUBNET" else word for word in words]
    devices = ["foo", "cuda:99", *(["cuda"] if not torch.cuda.is_available() else [])]
    for device in devices:
        assert main([*words, "--device", device, "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"elastic: --device {device}: PyTorch can't compute on that here; choose one of cpu")
        assert said.count("\n") == 1
        assert not (tmp_path / "out").exists()
    assert main([*words, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("option", ["images", "threads"])
def test_counts_begin_at_one(option, capsys):
    assert main(["export", "nowhere", f"--{option}", "0"]) == 2
    assert capsys.readouterr().err == f"elastic: --{option} 0: wanted 1 or more\n"


def test_int8_without_data_is_refused(subnet):
    before = config_of(subnet)
    with pytest.raises(ExportError, match=r"onnx-int8 needs real inputs .* --data on the command line"):
        export(subnet, "onnx-int8")
    assert config_of(subnet) == before


def test_a_folder_is_pushed_once_it_is_written(subnet, monkeypatch, capsys):
    pushed = []
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "a token")
    monkeypatch.setattr("elastic.shipping.pushing.push", lambda *given: pushed.append(given) or "https://hub/a/b")
    assert main(["export", subnet, "--formats", "onnx", "--push", "a/b", "--private", "true"]) == 0
    ((folder, repo, private),) = pushed
    assert (str(folder), repo, private) == (subnet, "a/b", True)
    assert "published: https://hub/a/b" in capsys.readouterr().out


def test_without_a_token_nothing_is_written(subnet, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    before = config_of(subnet)
    assert main(["export", subnet, "--push", "a/b"]) == 2
    assert "set HF_TOKEN" in capsys.readouterr().err
    assert config_of(subnet) == before


def test_mistakes_end_in_one_clear_sentence(subnet, tmp_path):
    with pytest.raises(CheckpointError, match="elastic extract writes one"):
        export(str(tmp_path))
    before = config_of(subnet)
    with pytest.raises(ExportError, match="no format 'gif'"):
        export(subnet, "gif")
    with pytest.raises(CheckpointError, match=r"missing\.yaml doesn't exist; give a folder of images"):
        export(subnet, "onnx-int8", data=str(tmp_path / "missing.yaml"))
    assert config_of(subnet) == before


def test_data_of_another_kind_is_refused(subnet, tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text(yaml.safe_dump({"model": {}}))
    with pytest.raises(CheckpointError, match="no data section"):
        export(subnet, "onnx-int8", data=str(path))


def test_images_are_of_the_subnets_own_size(subnet, run, data):
    choices = load_supernet(run).space["resolution"].choices
    export(subnet, "onnx-int8", data=data, images=16)
    config = config_of(subnet)
    assert config["input_size"] == [1, min(choices), min(choices)]
    assert min(choices) < max(choices)
    assert config["files"]["model.int8.onnx"]["accuracy"]["inputs"] == 16
