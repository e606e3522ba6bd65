import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader
from watching import images

from elastic.errors import CheckpointError
from elastic.supernet.source import SupernetSource
from trainers import ModelTeacher, OptimizerOptions, StepOptions, SupernetModule, load_from_checkpoint
from trainers.checkpoints import KEY, AtomicCheckpointIO, check_description, describe
from trainers.cli.main import main


def randomised(source):
    supernet = source.build().eval()
    generator = torch.Generator().manual_seed(0)
    for tensor in supernet.model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return supernet


def checkpoint(source, supernet):
    state = {f"supernet.model.{name}": tensor for name, tensor in supernet.model.state_dict().items()}
    return {"state_dict": state, KEY: describe(source, supernet, "everything")}


def test_round_trip_gives_the_same_logits(source, tmp_path):
    supernet, path = randomised(source), tmp_path / "deep" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(source, supernet), path)
    loaded = load_from_checkpoint(path)
    images = torch.randn(2, 1, 32, 32)
    for arch in supernet.space.sample(0, 3):
        with supernet.active(arch), loaded.active(arch):
            assert torch.equal(supernet(images), loaded(images))
    assert not loaded.training
    (path.parent / "other").touch()
    assert path.stat().st_mode == (path.parent / "other").stat().st_mode
    (path.parent / "other").unlink()
    assert [entry.name for entry in path.parent.iterdir()] == ["last.ckpt"]


def test_trained_run_loads_from_checkpoint_and_folder(config, tmp_path):
    assert main(["fit", "--config", str(config)]) == 0
    run, images = tmp_path / "runs" / "tiny", torch.randn(2, 1, 32, 32)
    one, other = load_from_checkpoint(run / "last.ckpt"), load_from_checkpoint(run)
    assert torch.equal(one(images), other(images))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_truncated_or_foreign_file(source, tmp_path, content):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(source, source.build()), path)
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(CheckpointError, match=r"last.ckpt can't be read as a checkpoint \(.*truncated or foreign"):
        load_from_checkpoint(path)


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.ckpt doesn't exist; wanted a checkpoint that elastic fit wrote"):
        load_from_checkpoint(tmp_path / "none.ckpt")


def test_checkpoint_of_something_else(tmp_path):
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"isn't a checkpoint of elastic fit: it holds \['epoch', 'state_dict'\]"):
        load_from_checkpoint(tmp_path / "other.ckpt")


def test_pickled_code_is_not_run(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "pickled.ckpt")
    with pytest.raises(CheckpointError, match="can't be read"):
        load_from_checkpoint(tmp_path / "pickled.ckpt")


def test_misshapen_weights(source, tmp_path):
    content = checkpoint(source, source.build())
    content["state_dict"]["supernet.model.fc.bias"] = torch.zeros(3)
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError, match=r"fc.bias is \(3,\), the model's is \(10,\)"):
        load_from_checkpoint(tmp_path / "bad.ckpt")
    del content["state_dict"]["supernet.model.fc.bias"]
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError, match=r"it lacks \['fc.bias'\]"):
        load_from_checkpoint(tmp_path / "bad.ckpt")


def test_another_supernets_checkpoint(source):
    other = SupernetSource(**{**source.to_dict(), "choices": {"mid": None}})
    supernet = other.build()
    with pytest.raises(CheckpointError, match="holds another supernet: resnet18 with other dims"):
        check_description(checkpoint(source, source.build()), describe(other, supernet, "")["digest"])


AVERAGE = {"step": StepOptions(average=0.9)}
TINY, TINIER = ({"teacher": ModelTeacher("vit_tiny_patch16_224", {"depth": 1, "embed_dim": d})} for d in (48, 24))


@pytest.mark.parametrize(
    ("made", "resumed", "message"),
    [
        ({}, AVERAGE, "has no moving average of the weights, this training has one; give --model.step.average as when"),
        (AVERAGE, {}, "has a moving average of the weights, this training has none; give --model.step.average as when"),
        ({}, TINY, "no teacher that is a network of its own, this training has one; give --model.teacher as when"),
        (TINY, TINIER, "a teacher that is a network of its own, this training has another; give --model.teacher"),
        ({}, {"optimizer": OptimizerOptions("adamw")}, "optimizer is sgd, this training's adamw; give --model.opt"),
    ],
)
def test_a_resume_with_another_option_names_it(vit, made, resumed, message):
    one, other = (SupernetModule(vit, **options) for options in (made, resumed))
    content = {
        "state_dict": one.state_dict(),
        KEY: {**describe(vit, one.supernet, ""), "optimizer": one.optimizer_options.name},
    }
    other.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    other.trainer.state.fn = TrainerFn.FITTING
    with pytest.raises(CheckpointError, match=message):
        other.on_load_checkpoint(content)


def fit(module, epochs, former=None, batch_size=8):
    """Epochs of 16 images, from a checkpoint on where one is given."""
    trainer = Trainer(accelerator="cpu", max_epochs=epochs, limit_val_batches=0, plugins=AtomicCheckpointIO(),
                      enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                      logger=False)  # fmt: skip
    trainer.fit(module, DataLoader(images(16), batch_size), DataLoader(images(8), 8), ckpt_path=former)
    return trainer


@pytest.mark.parametrize(("name", "momentum"), [("sgd", "momentum"), ("adamw", "betas")])
def test_a_resumed_optimizer_has_this_trainings_options(vit, tmp_path, name, momentum):
    fit(SupernetModule(vit, optimizer=OptimizerOptions(name, 0.9, 0.1)), 1).save_checkpoint(tmp_path / "last.ckpt")
    resumed = SupernetModule(vit, optimizer=OptimizerOptions(name, 0.5, 0.2))
    groups = fit(resumed, 2, tmp_path / "last.ckpt").optimizers[0].param_groups
    wanted = 0.5 if name == "sgd" else (0.5, 0.999)
    assert [(group[momentum], group["weight_decay"]) for group in groups] == [(wanted, 0.0), (wanted, 0.2)]


def test_a_resume_with_epochs_of_other_lengths_is_refused(vit, tmp_path):
    last = tmp_path / "last.ckpt"
    fit(SupernetModule(vit), 1).save_checkpoint(last)
    with pytest.raises(CheckpointError, match=r"epochs have 2 steps, this training's 4: .* Give the data, batch_size"):
        fit(SupernetModule(vit), 2, last, batch_size=4)
    content = torch.load(last)
    del content[KEY]["steps_per_epoch"]  # as checkpoints were
    torch.save(content, last)
    assert fit(SupernetModule(vit), 2, last, batch_size=4).current_epoch == 2


def test_failed_write_leaves_the_former_checkpoint(source, tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2}, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]
