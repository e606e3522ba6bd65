"""Gradient projection against its formula, and what it is for: agreement with both."""

import pytest
import torch
from torch import nn

from elastic.errors import TrainingError
from trainers.steps.conflicts import GradientProjection, gradients_apart


def gradients(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    parameters = [nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(5))]
    largest = [torch.randn(p.shape, generator=generator) for p in parameters]
    for parameter in parameters:
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
    return parameters, largest


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0])
def test_combination_is_the_formula(seed, scale):
    projection = GradientProjection(norm=1.0, limit=2.0)
    parameters, largest = gradients(seed, scale)
    g, g_s = flat([p.grad for p in parameters]), flat(largest)
    g = g * min(1.0, 1.0 / float(g.norm()))
    expected = g + (-(g @ g_s) / (g @ g)).clamp(0, 2) * g + g_s
    projection.combine(parameters, largest)
    torch.testing.assert_close(flat([p.grad for p in parameters]), expected, rtol=1e-4, atol=1e-4)


def test_the_largest_gives_way_where_they_conflict():
    parameters, largest = gradients(0, 1.0)
    g = flat([p.grad for p in parameters])
    g /= max(1.0, float(g.norm()))
    for own, parameter in zip(largest, parameters, strict=True):
        own.copy_(-0.5 * parameter.grad / max(1.0, float(g.norm())))
    GradientProjection(limit=100.0).combine(parameters, largest)
    step = flat([p.grad for p in parameters])
    torch.testing.assert_close(step @ g, g @ g, rtol=1e-3, atol=1e-4)  # as if the largest had no say along g


def test_no_gradients_of_others_leave_the_largest_alone():
    parameters, largest = gradients(1, 0.0)
    GradientProjection().combine(parameters, largest)
    torch.testing.assert_close(flat([p.grad for p in parameters]), flat(largest))


def test_gradients_within_the_block_are_kept_apart():
    parameters, kept = gradients(2, 1.0)
    own, others = flat(kept), flat([p.grad for p in parameters])
    with gradients_apart(parameters, kept):
        flat(parameters).sum().backward()
    torch.testing.assert_close(flat(kept), own + 1)
    assert torch.equal(flat([p.grad for p in parameters]), others)


def test_wrong_options():
    with pytest.raises(TrainingError, match="after is a share between 0 and 1, norm and limit are above 0; got 2"):
        GradientProjection(after=2)
