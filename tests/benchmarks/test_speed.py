"""`make bench`: what elasticity costs, on MobileNetV3-Large where a CNN is meant."""

import time

import pytest
import timm
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import elastic
from elastic.supernet.source import SupernetSource
from trainers.methods.optimizers import OptimizerOptions

FAMILIES = [
    "mobilenetv3_large_100",
    "mobilenetv2_100",
    "efficientnet_b0",
    "mnasnet_100",
    "resnet50",
    "resnext50_32x4d",
    "regnety_016",
    "convnext_tiny",
    "convnextv2_tiny",
    "vit_base_patch16_224",
    "deit_base_distilled_patch16_224",
    "deit3_base_patch16_224",
]


MODELS = {"mobilenetv3_large_100": "MobileNetV3-L", "ofa_mbv3_d234_e346_k357_w1.0": "OFA's MobileNetV3"}


class Count(TorchDispatchMode):
    n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module", params=MODELS, ids=lambda name: name.partition("_")[0])
def named(request):
    """A supernet, and its name in the table."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    yield SupernetSource(request.param).build(), MODELS[request.param]
    torch.set_num_threads(1)


@pytest.fixture
def supernet(named):
    return named[0]


@pytest.fixture
def label(named):
    return named[1]


@pytest.fixture
def steps(supernet):
    """A training step (forward, backward, SGD) of a random subnet: active in the supernet, and extracted."""
    arch = supernet.space.variant({"resolution": 128}, of=supernet.space.sample(0))
    subnet = supernet.extract(arch).train()
    images, labels = torch.randn(16, 3, 128, 128), torch.randint(0, 1000, (16,))
    optimisers = [OptimizerOptions().build(net, 1e-3) for net in (supernet.model, subnet)]
    supernet.train()

    def step(run, optimiser):
        optimiser.zero_grad(set_to_none=False)
        torch.nn.functional.cross_entropy(run(images), labels).backward()
        optimiser.step()

    def active():
        supernet.activate(arch)
        step(supernet, optimisers[0])

    with supernet.training_in_place():
        yield active, lambda: step(subnet, optimisers[1])


def test_training_step(steps, label, side_by_side, figure):
    active, plain = side_by_side(120, *steps)
    ratios = [a / p for a, p in zip(active, plain, strict=True)]
    figure(f"training step, active / extracted ({label}, 16 @128)", ratios, "×", "≤ 1.05")
    counts = []
    for step in steps:
        with Count() as count:
            step()
        counts.append(count.n)
    figure(f"operators of a training step, active / extracted ({label})", [counts[0] / counts[1]], "×", "≤ 1.2")


def test_extract(supernet, label, side_by_side, figure):
    archs = supernet.space.sample(0, 30)
    times = [1000 * side_by_side(1, lambda arch=arch: supernet.extract(arch))[0][0] for arch in archs]
    figure(f"extract ({label}, 30 random subnets)", times, "ms", "≤ 10")


@pytest.mark.parametrize("cost", ["macs", "params", "memory"])
def test_a_million_costs(supernet, label, cost, side_by_side, figure):
    rows = supernet.space.sample_rows(0, 1_000_000)
    (times,) = side_by_side(3, lambda: getattr(supernet, cost)(rows))
    figure(f"{cost} of a million archs ({label})", times, "s", "≤ 1" if cost != "memory" else "–")


@pytest.mark.parametrize("name", FAMILIES)
def test_elasticize(name, figure):
    model = timm.create_model(name)
    start = time.perf_counter()
    elastic.elasticize(model)
    figure(f"elasticize {name}", [time.perf_counter() - start], "s", "≤ 5")


def test_recalibrate(supernet, label, side_by_side, figure):
    arch = supernet.space.variant({"resolution": 128}, of=supernet.space.sample(0))
    subnet = supernet.extract(arch).train()
    batches = [torch.randn(32, 3, 128, 128) for _ in range(4)]

    @torch.no_grad()
    def plain():
        for batch in batches:
            subnet(batch)

    recalibrated, forward = side_by_side(8, lambda: elastic.recalibrate(subnet, batches), plain)
    ratios = [r / f for r, f in zip(recalibrated, forward, strict=True)]
    figure(f"recalibrate / train-mode forward ({label}, 4 × 32 @128)", ratios, "×", "≤ 1.1")


@pytest.mark.parametrize("name", ["mobilenetv3_large_100", "vit_base_patch16_224"])
def test_switch(name, side_by_side, figure):
    """Of a runtime: sizes are set, and statistics of 1,000 channels or so written."""
    supernet = elastic.elasticize(timm.create_model(name)).eval()
    budgets = {"small": supernet.space.smallest, "large": supernet.space.largest}
    runtime = elastic.Runtime(supernet, budgets, calibration=[torch.randn(2, 3, 224, 224)])
    times = side_by_side(100, lambda: runtime.switch("small"), lambda: runtime.switch("large"))
    figure(f"switch ({name}, small / large in turn)", [1000 * t for one in times for t in one], "ms", "–")
