"""What is said before a training: times where they can be measured, and never the end of the training."""

import contextlib

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from watching import fit, fresh

from trainers import Curriculum, Digits, Phase
from trainers.callbacks import SubnetReport
from trainers.estimate import measure_pace, training_memory


@pytest.fixture
def crowded(monkeypatch):
    """A device whose memory is full."""

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("trainers.estimate._pass", full)


def test_passes_run_in_the_precisions_context(vit):
    entered = []

    @contextlib.contextmanager
    def context():
        entered.append(True)
        with torch.autocast("cpu", torch.bfloat16):
            yield

    supernet, before = vit.build(), torch.get_rng_state()
    pace = measure_pace(supernet, torch.device("cpu"), 4, context)
    assert entered
    assert pace.seconds(sum(pace.macs) / 2) > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_that_asks_for_values_has_no_estimate_of_its_memory(vit, monkeypatch, capsys):
    """As transformers' version 4 does, where no attention mask is given."""
    really = VisionTransformer.forward_features

    def asking(self, x, **_):
        return really(self, x + 0 * x.sum().item())

    monkeypatch.setattr(VisionTransformer, "forward_features", asking)
    assert training_memory(vit.build(), 4) is None
    module = fresh(vit)
    fit(module, SubnetReport(), Digits(batch_size=8), max_steps=1)
    assert module.global_step == 1
    assert "holds an unknown number of bytes in float32" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("crowded")
def test_the_plan_keeps_its_numbers_on_a_narrow_screen(vit, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    phases = [Phase("small", 1234, 0.01, largest={"depth": 1}), Phase("a_phase_with_a_long_name_indeed", 1, 0.01)]
    module = fresh(vit, curriculum=Curriculum(phases, batch_size=256))
    fit(module, SubnetReport(), Digits(batch_size=8), max_steps=1)
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if "small" in line)
    assert {"1234", "0.000313"} <= set(row.split())
    assert "elastic in a_phase_with_a_long_name_indeed: " in " ".join(said.split())
    assert said.count("learning rate: 0.000313 (0.01 for 256 images, here 8)") == 1


@pytest.mark.usefixtures("crowded")
def test_too_little_memory_to_time_a_step_ends_nothing(vit, capsys):
    module = fresh(vit)
    assert measure_pace(module.supernet, torch.device("cpu"), 8) is None
    fit(module, SubnetReport(), Digits(batch_size=8), max_steps=1)
    assert module.global_step == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "timing passes of 8 images ran out of memory on cpu: if training does, too, lower --data.batch_size" in said
