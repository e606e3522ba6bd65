"""Killed at any moment and resumed, a training ends with the bits of one that wasn't."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from bits import bits
from forked import killed
from safetensors.torch import load_file
from torch.utils.data import Dataset, TensorDataset

# ruff: noqa: NPY002 - augmentation draws from numpy's global generator
from trainers import Digits
from trainers.checkpoints import KEY, read_checkpoint
from trainers.cli.main import main
from trainers.data.loading import EpochOrder, ResumableLoader
from trainers.data.randomness import SeededExamples, random_states, restore_random_states

STEPS, EPOCHS = 5, 2


def edited(path: Path, **changes) -> Path:
    """The configuration with dropout, longer, with checkpoints on the way, and `changes`."""
    values = yaml.safe_load(path.read_text())
    values["model"]["supernet"]["model_args"] |= {"drop_rate": 0.2, "drop_path_rate": 0.2}
    values["model"]["optimizer"] = {"momentum": 0.9}
    values["trainer"] |= {"limit_train_batches": STEPS, "limit_val_batches": 1, "check_val_every_n_epoch": 2}
    path.write_text(yaml.safe_dump(values | changes))
    return path


def assert_same_end(one: Path, other: Path) -> None:
    one, other = read_checkpoint(one / "last.ckpt"), read_checkpoint(other / "last.ckpt")
    assert one["global_step"] == other["global_step"] == STEPS * EPOCHS
    for part in ("state_dict", "optimizer_states", KEY):
        assert bits(one[part]) == bits(other[part]), part


def clothes(root: Path) -> dict:
    """Random crops and colours, drawn in a worker process."""
    shape = {"input_size": [1, 32, 32], "mean": [0.5], "std": [0.5], "eval_transform": {"crop_pct": 1.0}}
    augmented = {"train_transform": {"auto_augment": "augmix-m5-w2", "re_prob": 0.5}, "workers": 1, "batch_size": 6}
    names = {"name": "torch/fashion_mnist", "root": str(root), "val_split": "test"}
    return {"class_path": "TimmData", "init_args": {**names, **shape, **augmented}}


def test_killed_at_a_step_then_while_saving(config, tmp_path):
    fit, step = ["fit", "--config", str(edited(config))], random.Random(0).randrange(3, 6)
    run = [*fit, "--name", "killed", "--checkpoint_every"]
    killed([*run, "2"], "trainers.steps.step_runner.clip", step)
    left = read_checkpoint(tmp_path / "runs" / "killed" / "last.ckpt")["global_step"]
    assert left == (step - 1) // 2 * 2
    killed([*run, "1", "--ckpt_path", "last"], "os.fsync", 3)
    assert read_checkpoint(tmp_path / "runs" / "killed" / "last.ckpt")["global_step"] == left + 2
    assert main([*run, "null", "--ckpt_path", "last"]) == 0
    assert main([*fit, "--name", "whole"]) == 0
    assert_same_end(tmp_path / "runs" / "killed", tmp_path / "runs" / "whole")
    assert not list((tmp_path / "runs" / "killed").glob(".last*")), "what the killed process was writing"


def phases(path: Path) -> Path:
    """A curriculum with all that has a state: a teacher's snapshot, sorting, averages, several batches a step."""
    values = yaml.safe_load(path.read_text())
    uniform = {"class_path": "trainers.methods.samplers.UniformSampler", "init_args": {"n": 2}}
    values["model"] |= {
        "curriculum": {
            "batch_size": 32,
            "phases": [
                {"name": "full", "epochs": 1, "learning_rate": 0.1, "largest": {"depth": 1, "mid": 1}},
                {"name": "depth", "epochs": 1, "learning_rate": 0.1, "largest": {"mid": 2}, "sampler": uniform},
                {"name": "all", "epochs": 2, "learning_rate": 0.05, "warmup_epochs": 1, "sort": "l1"},
            ],
        },
        "teacher": {"class_path": "trainers.methods.teachers.SnapshotTeacher", "init_args": {"after": "full"}},
        "step": {"accumulate": 2, "average": 0.9, "projection": {"after": 0.5}},
    }
    values["data"]["init_args"]["mixup"] = {"mixup_alpha": 0.5}
    path.write_text(yaml.safe_dump(values))
    return path


def test_killed_anywhere_in_a_curriculum(config, tmp_path):
    """Mid-epoch, mid-phase and at the seams: wherever a process is killed, the end has the same bits."""
    config, draw = phases(edited(config)), random.Random(1)
    fit, steps, folder = ["fit", "--config", str(config)], 3 * 4, tmp_path / "runs"
    assert main([*fit, "--name", "whole"]) == 0
    run, done = [*fit, "--name", "killed", "--checkpoint_every", "1"], 0
    for _ in range(3):
        killed(run, "trainers.steps.step_runner.clip", draw.randint(2, 4))
        left = read_checkpoint(folder / "killed" / "last.ckpt")["global_step"]
        assert done < left < steps
        run, done = [*fit, "--name", "killed", "--checkpoint_every", "1", "--ckpt_path", "last"], left
    assert main(run) == 0
    one, other = (read_checkpoint(folder / name / "last.ckpt") for name in ("killed", "whole"))
    assert one["global_step"] == other["global_step"] == steps
    for part in ("state_dict", "optimizer_states", KEY):
        assert bits(one[part]) == bits(other[part]), part
    assert bits(load_file(folder / "killed" / "supernet.safetensors")) == bits(
        load_file(folder / "whole" / "supernet.safetensors")
    )


def test_killed_under_attack(config, tmp_path):
    """Where an ascent starts is a function of seed and step, and the radius grows from epoch to epoch."""
    values = yaml.safe_load(edited(config).read_text())
    values["model"] |= {
        "distiller": {"class_path": "trainers.robust.distillers.RSLAD"},
        "adversary": {"epsilon": 0.1, "steps": 2, "step_size": 0.05, "warmup_epochs": 2, "shared": True},
    }
    values["data"]["init_args"]["raw"] = True
    config.write_text(yaml.safe_dump(values))
    fit = ["fit", "--config", str(config)]
    run = [*fit, "--name", "killed", "--checkpoint_every", "1"]
    killed(run, "trainers.steps.step_runner.clip", STEPS + 3)
    assert read_checkpoint(tmp_path / "runs" / "killed" / "last.ckpt")["global_step"] == STEPS + 2
    assert main([*run, "--ckpt_path", "last"]) == 0
    assert main([*fit, "--name", "whole"]) == 0
    assert_same_end(tmp_path / "runs" / "killed", tmp_path / "runs" / "whole")


def test_killed_with_augmentation_in_workers(config, tmp_path, fashion_files):
    fit = ["fit", "--config", str(edited(config, data=clothes(fashion_files))), "--trainer.limit_val_batches", "0"]
    run = [*fit, "--name", "killed"]
    assert main([*run, "--trainer.max_epochs", "1"]) == 0
    killed([*run, "--checkpoint_every", "2", "--ckpt_path", "last"], "trainers.steps.step_runner.clip", 4)
    assert read_checkpoint(tmp_path / "runs" / "killed" / "last.ckpt")["global_step"] == STEPS + 3
    assert main([*run, "--ckpt_path", "last"]) == 0
    assert main([*fit, "--name", "whole"]) == 0
    assert_same_end(tmp_path / "runs" / "killed", tmp_path / "runs" / "whole")


def test_stopped_by_steps_and_resumed(config, tmp_path):
    fit = ["fit", "--config", str(edited(config)), "--trainer.max_steps"]
    assert main([*fit, "3", "--name", "parts"]) == 0
    for steps in (STEPS, STEPS * EPOCHS):  # in the middle of an epoch, and at its end
        assert main([*fit, str(steps), "--name", "parts", "--ckpt_path", "last"]) == 0
    assert main([*fit, str(STEPS * EPOCHS), "--name", "whole"]) == 0
    assert_same_end(tmp_path / "runs" / "parts", tmp_path / "runs" / "whole")


class Noise(Dataset):
    """Draws from each global generator."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return index, torch.rand(()).item(), random.random(), np.random.random()


def epoch(done, workers=0):
    place = None if done is None else (3, done)
    order = EpochOrder(Noise(), 1, 0, seed=1, place=lambda: place)
    return list(ResumableLoader(SeededExamples(Noise(), 1), 2, sampler=order, num_workers=workers))


def test_a_continued_pass_gives_the_rest_of_the_whole_one():
    whole = epoch(0)
    assert len(whole) == 3
    assert bits(epoch(2)) == bits(whole[1:])
    assert bits(epoch(4)) == bits(whole[2:])


def test_an_images_noise_is_a_function_of_seed_epoch_and_index():
    images, other = SeededExamples(Noise(), 1), SeededExamples(Noise(), 2)
    assert images[3, 4] == images[3, 4]
    drawn = [images[3, 4], images[3, 5], images[2, 4], other[3, 4]]
    for k in range(1, 4):
        assert len({values[k] for values in drawn}) == 4
    assert images[4] == images[0, 4]


def generators():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_seeding_leaves_the_global_generators_as_they_were():
    before, images = generators(), SeededExamples(Noise(), 1)
    assert images.__getitems__([(3, 4), (3, 5)]) == [images[3, 4], images[3, 5]]
    assert generators() == before
    with pytest.raises(IndexError):
        SeededExamples(TensorDataset(torch.zeros(3)), 1)[0, 7]
    assert generators() == before


def test_random_states_come_back():
    cpu = torch.device("cpu")
    states = random_states(cpu)
    drawn = torch.rand(3)
    restore_random_states(states, 0, cpu)
    assert torch.equal(torch.rand(3), drawn)
    after = torch.get_rng_state()
    restore_random_states(states, 1, cpu)  # a rank that the former run didn't have
    restore_random_states([], 0, cpu)
    assert torch.equal(torch.get_rng_state(), after)


def test_order_follows_the_trainer_only_while_it_fits():
    data = Digits(batch_size=16)
    data.setup("fit")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(1)
    first = next(iter(loader))[1]
    loader.sampler.set_epoch(2)
    assert not torch.equal(next(iter(loader))[1], first)
    assert len(loader) == len(data.splits.train) // 16
