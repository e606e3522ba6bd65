"""Checkpoints that are broken in any way are refused in a sentence, and change nothing."""

import random

import pytest
import torch
import yaml
from bits import bits
from examples import mostly_swept

from elastic.errors import CheckpointError
from trainers.checkpoints import load_from_checkpoint, read_checkpoint
from trainers.cli.main import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of a finished training, and its configuration."""
    folder = tmp_path_factory.mktemp("trained")
    source = {
        "model": "resnet18",
        "model_args": {"num_classes": 10, "channels": [4, 4, 4, 4]},
        "input_size": [1, 16, 16],
    }
    values = {
        "runs": str(folder / "runs"),
        "name": "tiny",
        "model": {
            "supernet": source,
            "curriculum": {"phases": [{"epochs": 1, "learning_rate": 0.01}]},
            "optimizer": {"name": "adamw"},
            "validation": {"middles": 0, "calibration_batches": 1},
        },
        "data": {"class_path": "Digits", "init_args": {"batch_size": 16, "size": 16}},
        "trainer": {"accelerator": "cpu", "limit_train_batches": 1, "limit_val_batches": 1, "log_every_n_steps": 1},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    assert main(["fit", "--config", str(path)]) == 0
    return path, torch.load(folder / "runs/tiny/last.ckpt", weights_only=True)


def changed(value, path, change):
    """A copy of a checkpoint with a change at one place."""
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[key] = changed(value[key], rest, change)
    elif change is None:
        del copy[key]
    else:
        copy[key] = change(value[key])
    return copy


WEIGHT = "supernet.model.conv1.weight"
OPTIMIZER = ("optimizer_states", 0)
BROKEN = [
    (("elastic", "digest"), None),
    (("elastic", "source"), None),
    (("elastic", "source", "model"), None),
    (("elastic", "source"), lambda _: 3),
    (("elastic",), lambda _: []),
    (("elastic", "random_states"), lambda _: 3),
    (("elastic", "random_states"), lambda _: [{"cpu": 3}]),
    (("elastic", "random_states"), lambda _: [{"cpu": torch.zeros(3)}]),
    (("state_dict", WEIGHT), None),
    (("state_dict", WEIGHT), lambda weight: weight[:1]),
    (("state_dict", WEIGHT), lambda _: "text"),
    (("state_dict",), lambda _: []),
    (("optimizer_states",), None),
    (("optimizer_states",), lambda _: []),
    ((*OPTIMIZER,), lambda _: None),
    ((*OPTIMIZER, "state"), None),
    ((*OPTIMIZER, "state", 0, "exp_avg"), lambda _: torch.zeros(7)),
    ((*OPTIMIZER, "state", 0), lambda _: 3),
    ((*OPTIMIZER, "param_groups"), lambda _: []),
    ((*OPTIMIZER, "param_groups", 0), lambda _: {}),
    ((*OPTIMIZER, "param_groups", 0, "params"), lambda params: params[1:]),
    (("loops",), None),
    (("loops", "fit_loop"), None),
    (("loops", "fit_loop", "epoch_progress"), lambda _: {}),
    (("loops", "fit_loop", "epoch_progress", "current", "ready"), lambda _: "x"),
    (("loops", "fit_loop", "epoch_progress", "current", "ready"), lambda _: -1),
    (("global_step",), None),
    (("epoch",), lambda _: "x"),
    (("callbacks",), lambda _: []),
    (("lr_schedulers",), lambda _: None),
]


@pytest.mark.parametrize(
    "case",
    mostly_swept(range(len(BROKEN)), range(0, len(BROKEN), 2)),
    ids=["/".join(map(str, path)) + str(at) for at, (path, _) in enumerate(BROKEN)],
)
def test_a_broken_checkpoint_is_refused_in_a_sentence(case, trained, tmp_path, capsys):
    config, whole = trained
    path, change = BROKEN[case]
    torch.save(changed(whole, path, change), tmp_path / "broken.ckpt")
    words = ["fit", "--config", str(config), "--runs", str(tmp_path), "--ckpt_path", str(tmp_path / "broken.ckpt")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "checkpoint" in said
    assert not (tmp_path / "tiny" / "config.yaml").exists(), "what was refused has changed nothing"


def test_a_checkpoint_that_names_code_is_refused(trained, tmp_path):
    _, whole = trained
    broken = changed(whole, ("elastic", "source", "model_args"), lambda args: {**args, "trust_remote_code": True})
    torch.save(broken, tmp_path / "broken.ckpt")
    with pytest.raises(CheckpointError, match="what a file names as code isn't run"):
        load_from_checkpoint(tmp_path / "broken.ckpt")


def test_a_flipped_bit_is_refused_or_changes_nothing(trained, tmp_path):
    config, whole = trained
    raw, draw = (config.parent / "runs/tiny/last.ckpt").read_bytes(), random.Random(0)
    refused = 0
    for _ in range(100):
        broken = bytearray(raw)
        broken[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
        (tmp_path / "broken.ckpt").write_bytes(broken)
        try:
            found = read_checkpoint(tmp_path / "broken.ckpt")
        except CheckpointError:
            refused += 1
        else:
            assert same(found["state_dict"], whole["state_dict"])
            assert same(found["optimizer_states"], whole["optimizer_states"])
    assert refused > 50


def test_a_checkpoint_without_checksums_still_loads(trained, tmp_path):
    _, whole = trained
    torch.save(whole, tmp_path / "former.ckpt", _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(tmp_path / "former.ckpt")["state_dict"], whole["state_dict"])


def same(one, other):
    return bits(one) == bits(other)
