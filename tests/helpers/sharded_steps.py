"""Training steps of small supernets, each rank with its share of the batch; run by ranks.py."""

from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from itertools import product

import timm
import torch
from lightning.pytorch import Callback, Trainer
from ranks import Collectives
from small import mobilenet, randomise, vit
from torch.nn import functional as F

import elastic
from elastic.supernet.source import SupernetSource
from trainers import PGDAT, RSLAD, AdaAD, Adversary, Curriculum, Digits, Phase, SupernetModule
from trainers.steps.gradients import average_over_ranks, fill_missing
from trainers.steps.options import StepOptions
from trainers.steps.sync_batchnorm import synced_batchnorm

IMAGES = 8


def resnet():
    model = timm.create_model("resnet18", num_classes=5, layers=(2, 1, 2, 1), channels=(8, 16, 16, 24))
    return elastic.elasticize(model, input_size=(3, 32, 32), resolutions=[24, 32])


FAMILIES = {
    "vit": vit,
    "mobilenet": mobilenet,
    "mobilenet with matrices": lambda: mobilenet(kernel_transforms=True),
    "resnet": resnet,
}
STATISTICS = ("frozen", "synced", "own")  # BatchNorm's: what it has, the whole batch's, or those of a rank's images
CASES = [("vit", "frozen"), ("mobilenet", "synced"), *product(("mobilenet with matrices", "resnet"), STATISTICS)]


def build(family):
    """A supernet in float64, three of its subnets, which all leave out blocks, and a batch."""
    supernet = FAMILIES[family]().double()
    randomise(supernet.model)  # kernel matrices too
    space = supernet.space.narrow({dim.name: dim.choices[:-1] for dim in supernet.space.matching("depth")})
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(IMAGES, 3, 32, 32, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (IMAGES,), generator=generator)
    return supernet, [space.largest, space.smallest, space.sample(seed=4)], images, labels


@cache
def step(family, rank=0, world=1, train=False, synced=False, alone=True):
    """The gradients of one step on a rank's share of the batch; of that rank alone, or averaged over all."""
    supernet, archs, images, labels = build(family)
    supernet.train(train)
    images, labels = images.chunk(world)[rank], labels.chunk(world)[rank]
    with nullcontext() if alone else supernet.training_in_place():
        for arch in archs:
            with supernet.active(arch):
                with synced_batchnorm() if synced else nullcontext():
                    loss = F.cross_entropy(supernet(images), labels)
                loss.backward()
    parameters = dict(supernet.model.named_parameters())
    unused = [name for name, parameter in parameters.items() if parameter.grad is None]
    fill_missing(list(parameters.values()))
    with Collectives() as collectives:
        if not alone:
            average_over_ranks([parameter.grad for parameter in parameters.values()])
    return {
        "gradients": {name: parameter.grad for name, parameter in parameters.items()},
        "buffers": dict(supernet.model.named_buffers()),
        "unused": unused,
        "sent": collectives.counts,
    }


def expected(family, norms, world):
    """What all ranks together should come to, by one process; the buffers of each."""
    if norms != "own":
        whole = step(family, train=norms == "synced")
        return {**whole, "buffers": [whole["buffers"]] * world}
    steps = [step(family, rank, world, train=True) for rank in range(world)]
    gradients = {name: sum(s["gradients"][name] for s in steps) / world for name in steps[0]["gradients"]}
    return {"gradients": gradients, "buffers": [s["buffers"] for s in steps], "unused": steps[0]["unused"]}


def mixed(rank, world):
    """Averages of gradients of several dtypes and memory formats."""
    generator = torch.Generator().manual_seed(rank)
    shapes = {torch.float32: (3, 2, 2, 2), torch.float64: (), torch.bfloat16: (5,), torch.float16: (2, 3)}
    own = [torch.randn(shape, generator=generator).to(dtype) for dtype, shape in shapes.items()]
    averaged = [gradient.clone() for gradient in own]
    averaged[0] = averaged[0].to(memory_format=torch.channels_last)
    averaged[3] = averaged[3].t().contiguous().t()
    average_over_ranks(averaged)
    average_over_ranks([])
    return {"own": own, "averaged": averaged}


class Watch(Callback):
    """What each step of a fit trained and sent; the first one's gradients."""

    def __init__(self):
        self.seen = {"labels": [], "archs": [], "sent": []}

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.seen["labels"].append(batch[1].clone())
        self.seen["archs"] += [arch.id for arch in module.plan.draw(module.progress.phase, module.global_step)]
        self.collectives = Collectives()
        self.collectives.__enter__()

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.seen.setdefault("gradients", {n: p.grad.clone() for n, p in module.supernet.model.named_parameters()})

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.collectives.__exit__(None, None, None)
        self.seen["sent"].append(self.collectives.counts)


# ascents start where images are: noise would be another on each rank
ADVERSARY = Adversary(epsilon=0.1, steps=2, step_size=0.05, start="image")
SMALL = {"layers": (1, 1, 2, 1), "channels": (8, 16, 16, 24)}
MATRICES = {"kernel_transforms": True}
FITS = {
    "fit": ("mobilenetv3_small_050", {}, MATRICES, {}),
    "fit under attack": ("resnet18", SMALL, {}, {"distiller": RSLAD(alone=PGDAT()), "adversary": ADVERSARY}),
    "fit under shared attacks": (
        "resnet18",
        SMALL,
        {},
        {"distiller": AdaAD(0.5, PGDAT()), "adversary": replace(ADVERSARY, shared=True)},
    ),
}
"""Of each training the model, its arguments, the recipe's options, and the module's."""


def fit(world, model, arguments, recipe, options):
    """Two steps through Lightning, with BatchNorm over the whole batch."""
    arguments = {"num_classes": 10, "in_chans": 1, **arguments}
    source = SupernetSource(model, arguments, options=recipe, input_size=[1, 32, 32])
    module = SupernetModule(
        source, Curriculum([Phase(learning_rate=0.05)]), step=StepOptions(sync_batchnorm=True), seed=3, **options
    )
    randomise(module.supernet.model)
    watch = Watch()
    trainer = Trainer(
        accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto", precision="64-true", max_steps=2,
        limit_val_batches=0, num_sanity_val_steps=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[watch],
    )  # fmt: skip
    trainer.fit(module, datamodule=Digits(batch_size=16 // world, raw="adversary" in options))
    return {**watch.seen, "weights": module.supernet.model.state_dict()}


def on_rank(rank, world):
    """All cases; alone, what they are to be compared with."""
    results = {}
    for family, norms in CASES:
        if world == 1:
            results |= {(family, norms, ranks): expected(family, norms, ranks) for ranks in (2, 4)}
        else:
            synced = norms == "synced"
            results[family, norms, world] = step(family, rank, world, norms != "frozen", synced, alone=False)
    results["mixed"] = mixed(rank, world)
    if world < 4:
        results |= {name: fit(world, *given) for name, given in FITS.items()}
    return results
