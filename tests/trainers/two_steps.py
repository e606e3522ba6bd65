"""Two sandwich steps of small supernets, on the ranks that torchrun has started or in the process that asks.

    torchrun --nproc-per-node 2 two_steps.py FOLDER

Each rank writes FOLDER/FAMILY-RANK.pt: the labels and subnets of its steps, the first step's gradients, and the
weights that it ends with.
"""

import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from torch import nn

from elastic.building import SupernetSource
from trainers import Curriculum, Digits, OptimizerOptions, Phase, SupernetModule

IMAGES, STEPS = 16, 2
SOURCES = {
    "vit": {
        "model": "vit_tiny_patch16_224",
        "model_args": {
            "num_classes": 10, "img_size": 32, "in_chans": 1, "patch_size": 8,
            "embed_dim": 64, "depth": 4, "num_heads": 4,
        },
    },
    "cnn": {
        "model": "mobilenetv3_small_050",
        "model_args": {"num_classes": 10},
        "options": {"kernel_transforms": True},
    },
}  # fmt: skip


class Watch(Callback):
    """BatchNorm with the statistics that it has, since each rank would take those of its own images."""

    def __init__(self):
        self.seen = {"labels": [], "archs": []}

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        for child in module.supernet.modules():
            if isinstance(child, nn.BatchNorm2d):
                child.eval()
        self.seen["labels"].append(batch[1].clone())
        self.seen["archs"] += [arch.id for arch in module.step_archs()]

    def on_before_optimizer_step(self, trainer, module, optimizer):
        gradients = {name: p.grad.clone() for name, p in module.supernet.model.named_parameters()}
        self.seen.setdefault("gradients", gradients)


def randomised(source):
    torch.manual_seed(0)
    module = SupernetModule(
        source,
        Curriculum([Phase(learning_rate=0.05)]),
        optimizer=OptimizerOptions(clip_value=None),
        seed=3,
    )
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.supernet.model.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim < 2:
            low = 0.5 if "var" in name or "weight" in name else -0.5
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + low)
    return module


def train(family, ranks=1):
    """What this rank saw and ended with, and its number."""
    source = SupernetSource.from_dict({"input_size": [1, 32, 32], **SOURCES[family]})
    module, watch = randomised(source), Watch()
    trainer = Trainer(
        accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto", max_steps=STEPS,
        limit_val_batches=0, num_sanity_val_steps=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[watch],
    )  # fmt: skip
    trainer.fit(module, datamodule=Digits(batch_size=IMAGES // ranks))
    kinds = sorted({dim.name.split(".")[0] for dim in module.supernet.space.dims})
    return {**watch.seen, "kinds": kinds, "weights": module.supernet.model.state_dict()}, trainer.global_rank


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for family in SOURCES:
        result, rank = train(family, ranks=2)
        torch.save(result, Path(sys.argv[1]) / f"{family}-{rank}.pt")
