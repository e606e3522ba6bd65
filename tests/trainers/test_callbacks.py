"""What a run keeps in its folder."""

import pytest
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader
from watching import images

from elastic.errors import TrainingError
from trainers import Curriculum, Phase, SupernetModule, UniformSampler, ValidationOptions
from trainers.run_folder import LAST, RunFolder


def kept(folder, source, keep_best, curriculum=None, **options):
    """The folder's callback, after a fit of a few steps on random images."""
    module = SupernetModule(source, curriculum or Curriculum([Phase()]), validation=ValidationOptions(middles=1))
    keeper = RunFolder(folder, keep_best=keep_best)
    trainer = Trainer(accelerator="cpu", max_epochs=module.curriculum.epochs, logger=False, num_sanity_val_steps=0,
                      enable_progress_bar=False, enable_model_summary=False, callbacks=[keeper], **options)  # fmt: skip
    trainer.fit(module, DataLoader(images(8), 8), DataLoader(images(8), 8))
    return keeper


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        ("val/nonsense/xyz", {}, "it logs val/smallest/accuracy, val/largest/accuracy, val/middle_1/accuracy"),
        ("val/largest/robust", {}, "validation logs no such metric"),
        ("val/largest/accuracy", {"check_val_every_n_epoch": None, "val_check_interval": 1}, "there are none; give"),
        ("val/largest/accuracy", {"limit_val_batches": 0}, "limit_val_batches 1.0, or --keep_best null"),
    ],
)
def test_a_best_that_is_never_found_is_refused_before_the_training(tmp_path, vit, metric, options, message):
    with pytest.raises(TrainingError, match=message):
        kept(tmp_path, vit, metric, **options)
    assert not list(tmp_path.iterdir())


def test_a_phase_without_the_metric_keeps_its_last(tmp_path, vit):
    """A single subnet is called smallest, and never largest."""
    alone = Phase("alone", 1, largest={"*": 1}, sampler=UniformSampler(1))
    keeper = kept(tmp_path, vit, "val/largest/accuracy", Curriculum([alone, Phase("together", 1)]))
    state = keeper.state_dict()
    assert state["phase"] == "together"
    assert 0 <= state["best"] <= 1
    assert {LAST, "supernet.json", "supernet.safetensors"} == {path.name for path in tmp_path.iterdir()}
