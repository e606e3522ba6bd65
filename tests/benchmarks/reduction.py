"""Times a sandwich step and the reduction of its gradients on each rank; run by ranks.py."""

import time

import timm
import torch
from torch import distributed

import elastic
from trainers import SandwichSampler, SoftTargets
from trainers.methods.samplers import SamplingContext
from trainers.steps.gradients import average_over_ranks, fill_missing
from trainers.steps.options import StepOptions
from trainers.steps.step_state import OptimizerStep
from trainers.steps.subnet_gradients import SubnetGradients

STEPS = 8


def on_rank(rank, world):
    """Seconds of each step's passes, and of its reduction: float64 `(STEPS,)` each."""
    torch.manual_seed(0)
    model = timm.create_model("mobilenetv3_large_100", num_classes=100)
    supernet = elastic.elasticize(model, resolutions=[128], input_size=(3, 128, 128)).train()
    sampler, moment = SandwichSampler(), SamplingContext(supernet.space, supernet.macs, 0, 0)
    archs = [sampler.sample(moment, k) for k in range(sampler.subnets_per_step)]
    images, labels = torch.randn(16, 3, 128, 128), torch.randint(0, 100, (16,))
    gradients = SubnetGradients(supernet, StepOptions(), torch.Tensor.backward)
    parameters, seconds = list(supernet.parameters()), {"step": [], "reduction": []}
    with supernet.training_in_place():
        for _ in range(STEPS + 1):
            supernet.zero_grad(set_to_none=False)
            began = time.perf_counter()
            gradients.accumulate(OptimizerStep(0, archs), images, labels, archs[0], SoftTargets(), "in place")
            fill_missing(parameters)
            if world > 1:
                distributed.barrier()  # the ranks wait for each other here, not in the reduction
            passed = time.perf_counter()
            average_over_ranks([parameter.grad for parameter in parameters])
            seconds["step"].append(passed - began)
            seconds["reduction"].append(time.perf_counter() - passed)
    return {part: torch.tensor(times[1:], dtype=torch.float64) for part, times in seconds.items()}
