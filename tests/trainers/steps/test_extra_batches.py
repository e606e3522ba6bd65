"""Batches beside those that are trained arrive on the module's device."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.plugins import HalfPrecision

from trainers.steps.extra_batches import calibration_batches


@pytest.mark.parametrize("text", [False, True])
def test_calibration_batches_are_moved_and_converted(text):
    images, ids = torch.randn(2, 3), torch.ones(2, 3, dtype=torch.int64)
    batch = {"input_ids": ids, "pixels": images} if text else images
    data = SimpleNamespace(calibration_batches=lambda: [batch] * 3)
    trainer = SimpleNamespace(datamodule=data, precision_plugin=HalfPrecision("bf16-true"))
    found = list(calibration_batches(SimpleNamespace(trainer=trainer, device=torch.device("meta")), 2))
    assert len(found) == 2
    for one in found:
        moved = one["pixels"] if text else one
        assert (moved.device.type, moved.dtype) == ("meta", torch.bfloat16)
        if text:
            assert (one["input_ids"].device.type, one["input_ids"].dtype) == ("meta", torch.int64)
