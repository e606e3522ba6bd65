"""A supernet of the zoo goes through every command by its name, as a timm model does."""

import torch
import yaml

import elastic
from trainers.cli.main import main


def test_training_inspecting_and_extracting_take_a_name(capsys, tmp_path, fashion_files):
    assert main(["inspect", "ofa_mbv3_fashion_mnist"]) == 0
    assert "4.0e+11 subnets" in capsys.readouterr().out
    words = [
        "--data.root",
        str(fashion_files),
        "--data.batch_size",
        "8",
        "--data.workers",
        "0",
        "--runs",
        str(tmp_path),
    ]
    words += [
        "--model.curriculum.scale",
        "0.001",
        "--trainer.limit_train_batches",
        "1",
        "--trainer.log_every_n_steps",
        "1",
    ]
    words += ["--trainer.limit_val_batches", "1", "--model.validation.calibration_batches", "1"]
    assert main(["fit", "--config", "ofa_fashion_mnist", *words]) == 0, capsys.readouterr().err
    run = tmp_path / "ofa_fashion_mnist"
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["supernet"]["model"] == "ofa_mbv3_fashion_mnist"
    assert main(["extract", str(run), "--arch", "smallest", "--out", str(tmp_path / "subnet")]) == 0
    subnet, about = elastic.load_subnet(tmp_path / "subnet")
    assert about["source"]["model"] == "ofa_mbv3_fashion_mnist"
    assert subnet(torch.zeros(1, *about["input_size"])).shape == (1, 10)
