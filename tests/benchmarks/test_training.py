"""`make bench`: a step of several subnets against the same subnets trained as plain models, eager and compiled."""

from pathlib import Path

import pytest
import timm
import torch
from ranks import run_on_ranks

import elastic
from elastic.supernet.compiling import compiled
from trainers import OptimizerOptions, SandwichSampler, SoftTargets
from trainers.methods.samplers import SamplingContext
from trainers.steps.options import StepOptions
from trainers.steps.step_state import OptimizerStep
from trainers.steps.subnet_gradients import SubnetGradients

MODELS = {
    "MobileNetV3-L, 16 @128": ("mobilenetv3_large_100", {}, 16, 128),
    "ViT-Tiny, 16 @128": ("vit_tiny_patch16_224", {"img_size": 128}, 16, 128),
}
COMPILED = {
    "ViT-Tiny of 4 blocks, 16 @128": ("vit_tiny_patch16_224", {"img_size": 128, "depth": 4}, 16, 128),
    "small ResNet, 32 @32": ("resnet18", {"channels": (32, 64, 96, 128)}, 32, 32),
}


def sandwich(name, args, batch, side, compile_them=False):
    """A step of the sandwich, and the steps of its four subnets as plain models: two functions, within a context."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    shape = {} if "vit" in name else {"input_size": (3, side, side)}
    supernet = elastic.elasticize(timm.create_model(name, num_classes=100, **args), resolutions=[side], **shape).train()
    images, labels = torch.randn(batch, 3, side, side), torch.randint(0, 100, (batch,))
    sampler, moment = SandwichSampler(), SamplingContext(supernet.space, supernet.macs, 0, 0)
    archs = [sampler.sample(moment, k) for k in range(sampler.subnets_per_step)]
    plain = [supernet.extract(arch).train() for arch in archs]
    optimisers = [OptimizerOptions().build(net, 1e-3) for net in (supernet.model, *plain)]
    gradients = SubnetGradients(supernet, StepOptions(), torch.Tensor.backward)
    if compile_them:
        for net in plain:
            net.compile()

    def ours():
        optimisers[0].zero_grad(set_to_none=False)
        gradients.accumulate(OptimizerStep(0, archs), images, labels, archs[0], SoftTargets(), "in place")
        optimisers[0].step()

    def theirs():
        lesson = None
        for net, optimiser in zip(plain, optimisers[1:], strict=True):
            optimiser.zero_grad(set_to_none=False)
            logits = net(images)
            SoftTargets().loss(logits, labels, lesson).backward()
            optimiser.step()
            lesson = logits.detach() if lesson is None else lesson

    return ours, theirs, compiled(supernet) if compile_them else supernet.training_in_place()


def ratios(functions, side_by_side, rounds):
    ours, theirs, context = functions
    with context:
        one, other = side_by_side(rounds, ours, theirs)
    torch.set_num_threads(1)
    return [a / b for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("model", MODELS)
def test_sandwich_step(model, side_by_side, figure):
    found = ratios(sandwich(*MODELS[model]), side_by_side, 20)
    figure(f"sandwich step / its 4 subnets as plain models ({model})", found, "×", "≤ 1.05")


@pytest.mark.filterwarnings("ignore")  # what the compiler says of this machine
@pytest.mark.parametrize("model", COMPILED)
def test_compiled_sandwich_step(model, side_by_side, figure):
    found = ratios(sandwich(*COMPILED[model], compile_them=True), side_by_side, 20)
    figure(f"the same, both compiled ({model})", found, "×", "≤ 1.05")


def test_reduction(tmp_path, figure):
    """Of MobileNetV3-L's gradients, once a step of four subnets."""
    results = run_on_ranks(Path(__file__).with_name("reduction.py"), tmp_path)
    for world in (2, 4):
        shares = [1 + r / s for r, s in zip(*(results[world, 0][part] for part in ("reduction", "step")), strict=True)]
        figure(f"sandwich step with / without its reduction, {world} processes", shares, "×", "–")
