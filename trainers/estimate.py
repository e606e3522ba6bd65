"""Estimates before a training starts: the memory of its largest subnet, and the time of its steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elastic import Arch, Supernet
from elastic.support.inputs import Inputs, each, predict
from trainers.methods.adversary import Adversary
from trainers.methods.plan import TrainingPlan
from trainers.methods.samplers import Contest

Context = Callable[[], AbstractContextManager[None]]

_FIRST_IMAGES, _LONG, _SAMPLED_STEPS = 8, 0.5, 8


@dataclass(frozen=True)
class Pace:
    """Seconds of a forward and a backward pass: a line through the smallest and the largest subnet.

    Attributes:
        smallest: seconds for one image of the smallest subnet.
        largest: of the largest.
        macs: of the two.
    """

    smallest: float
    largest: float
    macs: tuple[int, int]

    def seconds(self, macs: float) -> float:
        """Seconds for one image of a subnet with this many MACs."""
        low, high = self.macs
        share = (macs - low) / (high - low) if high > low else 1.0
        return max(self.smallest + share * (self.largest - self.smallest), 0.0)


def measure_pace(
    supernet: Supernet, device: torch.device, batch_size: int, context: Context = nullcontext
) -> Pace | None:
    """Time both ends on random images, as plain models; the supernet and the random generators stay as they are.

    Args:
        supernet: what will be trained.
        device: where.
        batch_size: the most images at once.
        context: what forward passes run in, such as autocast.

    Returns:
        None where the device's memory isn't enough.
    """
    ends = [supernet.space.smallest, supernet.space.largest]
    macs = supernet.macs(ends)
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []), torch.enable_grad():
        try:
            smallest, largest = [_time(supernet, arch, device, batch_size, context) for arch in ends]
            pace = Pace(smallest, largest, (int(macs[0]), int(macs[1])))
        except torch.OutOfMemoryError:
            pace = None
    if cuda:  # only now: the error held on to the tensors of the pass
        torch.cuda.empty_cache()
    return pace


def _time(supernet: Supernet, arch: Arch, device: torch.device, batch_size: int, context: Context) -> float:
    """Seconds for an image: batches double up to `batch_size`, or until one takes long; the last one counts."""
    model = supernet.extract(arch).train().to(device)
    dtype = next(model.parameters()).dtype

    def seconds_of(images: int) -> float:
        inputs = supernet.example_inputs(arch, images, device, seed=0)
        return _pass(model, each(inputs, lambda one: one.to(dtype) if one.is_floating_point() else one), context)

    images = min(max(batch_size, 2), _FIRST_IMAGES)
    seconds_of(images)
    while (seconds := seconds_of(images)) < _LONG and images < batch_size:
        images = min(2 * images, batch_size)
    return seconds / images


def _pass(model: nn.Module, inputs: Inputs, context: Context) -> float:
    """Seconds of one forward and one backward pass."""
    device = next(model.parameters()).device
    start = time.perf_counter()
    with context():
        output = predict(model, inputs)
    output.float().square().mean().backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def step_seconds(plan: TrainingPlan, phase: int, adversary: Adversary, pace: Pace, images: int) -> float:
    """Seconds of the passes of one step of a phase on `images` images, averaged over the sampler's first few steps."""
    total = 0.0
    for step in range(_SAMPLED_STEPS):
        drawn = plan.draw(phase, step)
        archs: list[Arch] = [each.archs[0] if isinstance(each, Contest) else each for each in drawn]
        passes = [pace.seconds(float(macs)) for macs in plan.supernet.macs(archs)]
        total += plan.losses[phase].seconds(passes, adversary)
    return total / _SAMPLED_STEPS * images


def training_memory(supernet: Supernet, batch_size: int) -> int | None:
    """Bytes that a float32 step of the largest subnet holds: what backward needs, and weights, gradients, momentum.

    Counted on tensors without memory; an optimiser with two moments (AdamW) needs the weights' size once more.

    Returns:
        None where the model's code asks for values, as that of transformers' version 4 does: such tensors have none.
    """
    model = supernet.extract(supernet.space.largest).train().to("meta")
    weights = {id(parameter): parameter.numel() * parameter.element_size() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if id(tensor) not in weights and not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        try:
            output = predict(model, supernet.example_inputs(supernet.space.largest, batch_size, "meta"))
        except RuntimeError:
            return None
    activations = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del output
    stored = sum(parameter.numel() * parameter.element_size() for parameter in supernet.model.parameters())
    return activations + 3 * stored
