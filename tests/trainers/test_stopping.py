"""A training that is told to end keeps its work, and what it shipped says that it isn't finished."""

import json
import os
import signal

import pytest
import torch
from examples import mostly_swept

from trainers import SupernetModule
from trainers.checkpoints import KEY, read_checkpoint
from trainers.cli.main import main
from trainers.jobs.trained import open_trained


def ended_at(monkeypatch, step):
    """Send this process SIGTERM while the training is at a step."""
    plain = SupernetModule.training_step

    def training_step(module, batch, batch_idx):
        if module.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(module, batch, batch_idx)

    monkeypatch.setattr(SupernetModule, "training_step", training_step)


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return all(map(same, one, other)) if isinstance(one, list) else one == other


@pytest.mark.parametrize("step", mostly_swept([0, 1, 2, 4], [1, 4]))
def test_sigterm_saves_and_the_training_continues_with_the_same_end(step, config, tmp_path, capsys, monkeypatch):
    fit = ["fit", "--config", str(config)]
    with monkeypatch.context() as patched:
        ended_at(patched, step)
        assert main([*fit, "--name", "ended"]) == 143
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        said
        == "elastic: ended by SIGTERM; the training continues from the last checkpoint with the same command "
        + ("and --ckpt_path last")
    )
    ended, whole = tmp_path / "runs" / "ended", tmp_path / "runs" / "whole"
    assert read_checkpoint(ended / "last.ckpt")["global_step"] == step + 1
    assert main([*fit, "--name", "ended", "--ckpt_path", "last"]) == 0
    assert main([*fit, "--name", "whole"]) == 0
    one, other = (read_checkpoint(folder / "last.ckpt") for folder in (ended, whole))
    for part in ("state_dict", "optimizer_states", KEY):
        assert same(one[part], other[part]), part


def test_what_a_run_ships_says_whether_it_is_finished(config, tmp_path, capsys, monkeypatch):
    fit, run = ["fit", "--config", str(config)], tmp_path / "runs" / "tiny"
    with monkeypatch.context() as patched:
        ended_at(patched, 4)  # in the second epoch
        assert main(fit) == 143
    assert json.loads((run / "supernet.json").read_text())["finished"] is False
    capsys.readouterr()
    open_trained(run)
    said = capsys.readouterr().err
    assert said == f"{run}: its training ended early, or still runs; fit --ckpt_path last continues it\n"
    assert main([*fit, "--ckpt_path", "last"]) == 0
    assert json.loads((run / "supernet.json").read_text())["finished"] is True
    capsys.readouterr()
    open_trained(run)
    assert capsys.readouterr().err == ""


def test_a_run_isnt_replaced(config, tmp_path, capsys):
    """Neither a checkpoint, nor what it shipped where the checkpoint is gone, nor a configuration of another kind."""
    run = tmp_path / "runs" / "tiny"
    run.mkdir(parents=True)
    for name in ("last.ckpt", "supernet.json", "supernet.safetensors", "config.yaml"):
        (run / name).write_text("mine")
        assert main(["fit", "--config", str(config)]) == 2
        said = capsys.readouterr().err
        assert "--overwrite replaces it" in said
        assert name in said
        assert [path.name for path in run.iterdir()] == [name]
        (run / name).unlink()
    (run / "last.ckpt").write_text("mine")
    (tmp_path / "other.ckpt").write_text("another")
    assert main(["fit", "--config", str(config), "--ckpt_path", str(tmp_path / "other.ckpt")]) == 2
    assert "give this run another --name" in capsys.readouterr().err
    assert main(["fit", "--config", str(config), "--overwrite"]) == 0
    assert "overwrite: false" in (run / "config.yaml").read_text()
