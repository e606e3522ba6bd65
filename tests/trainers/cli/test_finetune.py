"""An extracted subnet is trained further with the same command, and extracted again."""

import json

import pytest
import torch
from safetensors.torch import load_file

from elastic.errors import CheckpointError
from elastic.shipping.loading import load_subnet
from elastic.supernet.source import SupernetSource
from trainers import load_from_checkpoint
from trainers.cli.main import main


def test_a_subnet_is_trained_further(config, tmp_path, capsys):
    runs, small, tuned = tmp_path / "runs", tmp_path / "small", tmp_path / "tuned"
    assert main(["fit", "--config", str(config)]) == 0
    space = load_from_checkpoint(runs / "tiny").space
    arch = tmp_path / "arch.json"
    arch.write_text(json.dumps(dict(space.variant({"resolution": 32}, of=space.smallest))))
    assert main(["extract", str(runs / "tiny"), "--arch", str(arch), "--out", str(small)]) == 0
    fit = ["fit", "--config", str(runs / "tiny" / "config.yaml"), "--config", "finetune", "--subnet", str(small)]
    short = ["--trainer.max_epochs", "2", "--trainer.limit_train_batches", "3", "--model.curriculum.scale", "0.08"]
    assert main([*fit, *short, "--name", "tuned"]) == 0, capsys.readouterr().err
    begun, _ = load_subnet(small)
    trained = load_from_checkpoint(runs / "tuned")
    assert not trained.space.dims
    assert trained.space.size == 1
    assert [p.shape for p in trained.model.parameters()] == [p.shape for p in begun.parameters()]
    assert not torch.equal(trained.model.fc.weight, begun.fc.weight)
    assert main(["extract", str(runs / "tuned"), "--arch", "largest", "--out", str(tuned)]) == 0
    again, _ = load_subnet(tuned)
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(trained.model.fc.weight, again.fc.weight)
    assert again(x).shape == (2, 10)
    assert load_file(tuned / "model.safetensors").keys() == begun.state_dict().keys()
    # and once more, from where it stands
    source = SupernetSource.of_subnet(tuned)
    assert torch.equal(source.build().eval()(x), again(x))


def test_a_folder_without_a_subnet(config, tmp_path, capsys):
    with pytest.raises(CheckpointError, match="wanted an exported subnet"):
        SupernetSource.of_subnet(tmp_path)
    assert main(["fit", "--config", str(config), "--subnet", str(tmp_path)]) == 2
    assert "wanted an exported subnet" in capsys.readouterr().err
