"""`make bench`: what training under attack costs, against a plain loop written by hand."""

import pytest
import timm
import torch
from torch.nn import functional as F

import elastic
from trainers import PGDAT, RSLAD, Adversary, OptimizerOptions, SandwichSampler
from trainers.methods.samplers import SamplingContext
from trainers.steps.options import StepOptions
from trainers.steps.step_state import OptimizerStep
from trainers.steps.subnet_gradients import SubnetGradients

STEPS, EPSILON, STEP_SIZE = 10, 8 / 255, 2 / 255


def supernet_and_batch():
    model = timm.create_model("resnet18", num_classes=10, channels=(16, 32, 64, 64))
    supernet = elastic.elasticize(model, input_size=(3, 64, 64), resolutions=[64]).train()
    return supernet, torch.rand(32, 3, 64, 64), torch.randint(0, 10, (32,))


def plain_step(model, optimiser, images, labels):
    """PGD-10 and cross-entropy as one writes them down; the attack in training mode, as here."""
    attacked = images + torch.empty_like(images).uniform_(-EPSILON, EPSILON)
    for _ in range(STEPS):
        attacked = attacked.clamp(0, 1).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(attacked), labels, reduction="sum"), attacked)
        attacked = images + (attacked.detach() + STEP_SIZE * gradient.sign() - images).clamp(-EPSILON, EPSILON)
    optimiser.zero_grad(set_to_none=False)
    F.cross_entropy(model(attacked.clamp(0, 1)), labels).backward()
    optimiser.step()


@pytest.mark.usefixtures("two_threads")
def test_against_a_plain_loop(side_by_side, figure):
    supernet, images, labels = supernet_and_batch()
    arch = supernet.space.sample(0)
    subnet = supernet.extract(arch).train()
    optimisers = [OptimizerOptions().build(net, 1e-3) for net in (supernet.model, subnet)]
    adversary = Adversary(epsilon=EPSILON, steps=STEPS, step_size=STEP_SIZE)
    gradients = SubnetGradients(supernet, StepOptions(), torch.Tensor.backward, adversary)

    def ours():
        optimisers[0].zero_grad(set_to_none=False)
        gradients.accumulate(OptimizerStep(0, archs=[arch]), images, labels, supernet.space.largest, PGDAT(), None)
        optimisers[0].step()

    with supernet.training_in_place():
        times = side_by_side(20, ours, lambda: plain_step(subnet, optimisers[1], images, labels))
    ratios = [a / b for a, b in zip(*times, strict=True)]
    figure("step under attack (PGD-10), active / plain loop (ResNet, 32 @64)", ratios, "×", "≤ 1.05")


@pytest.mark.usefixtures("two_threads")
def test_shared_attacks(side_by_side, figure):
    """A robust sandwich of four subnets, each attacked itself, and all trained on images that were attacked once."""
    supernet, images, labels = supernet_and_batch()
    sampler, moment = SandwichSampler(), SamplingContext(supernet.space, supernet.macs, 0, 0)
    archs = [sampler.sample(moment, k) for k in range(sampler.subnets_per_step)]

    def step(shared):
        adversary = Adversary(epsilon=EPSILON, steps=STEPS, step_size=STEP_SIZE, shared=shared)
        gradients = SubnetGradients(supernet, StepOptions(), torch.Tensor.backward, adversary)
        supernet.zero_grad(set_to_none=False)
        gradients.accumulate(OptimizerStep(0, archs=archs), images, labels, archs[0], RSLAD(), "in place")

    with supernet.training_in_place():
        times = side_by_side(10, lambda: step(True), lambda: step(False))
    ratios = [a / b for a, b in zip(*times, strict=True)]
    figure("robust sandwich step, shared / separate attacks (PGD-10, ResNet, 32 @64)", ratios, "×", "–")
