"""Fits of a few steps, watched."""

import copy

import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader, TensorDataset

from elastic import Arch
from trainers import Digits, OptimizerOptions, SupernetModule

PLAIN = OptimizerOptions(momentum=0, weight_decay=0, clip_value=None)


class Watch(Callback):
    """Keeps what one step starts from, and its gradients; `after` is called with the module behind each step."""

    def __init__(self, after=None, during=None, batches=None):
        self.after = after or (lambda module: None)
        self.during = during or (lambda archs: None)
        self.batches = batches if batches is not None else []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        images, labels = batch
        self.batch = images.clone(), labels.clone()
        self.batches.append(self.batch)
        self.archs = [
            drawn for drawn in module.plan.draw(module.progress.phase, module.global_step) if isinstance(drawn, Arch)
        ]
        self.inputs, self.subnets = [], []
        for arch in self.archs:
            with module.supernet.active(arch):
                self.inputs.append(module.supernet.resize(images).clone())
            self.subnets.append(module.supernet.extract(arch).train())
        self.before = copy.deepcopy(module.supernet.model.state_dict())

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.gradients = {name: p.grad.clone() for name, p in module.supernet.model.named_parameters()}
        self.during(module.steps.current.archs)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if module.steps.current is None:
            self.after(module)


def fit(module, watch, data, **options):
    trainer = Trainer(
        accelerator="cpu",
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch],
        **options,
    )
    if isinstance(data, DataLoader):
        trainer.fit(module, data, data)
    else:
        trainer.fit(module, datamodule=data)


def one_step(module, data=None):
    watch = Watch()
    fit(module, watch, Digits(batch_size=8) if data is None else data, max_steps=1)
    return watch


class Ends:
    """The largest and the smallest."""

    subnets_per_step = 2

    def sample(self, at, k):
        return at.space.smallest if k else at.space.largest


def images(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 1, 32, 32, generator=generator), torch.arange(n) % 10)


def gradients(module, batch_size, steps=1):
    watch = Watch()
    torch.manual_seed(0)
    fit(module, watch, DataLoader(images(24), batch_size), max_steps=steps)
    return watch.gradients


def fresh(source, **options):
    torch.manual_seed(0)
    return SupernetModule(source, optimizer=PLAIN, sampler=Ends(), **options)
