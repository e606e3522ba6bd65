"""BatchNorm on two and on four ranks, and on one process that has the whole batch."""

import pytest
import torch
from ranks import run_on_ranks
from torch import nn
from torch.nn import functional as F

from trainers.steps.sync_batchnorm import synced_batchnorm

SHARES = {1: [12], 2: [7, 5], 4: [1, 2, 4, 5]}  # images of each rank


class Sliced(nn.BatchNorm2d):
    """Uses the first four channels of six, as an elastic layer does."""

    def forward(self, x):
        tensors = [t[:4] for t in (self.running_mean, self.running_var, self.weight, self.bias)]
        return F.batch_norm(x, *tensors, self.training, self.momentum, self.eps)


class Halves(nn.Module):
    """Two convolutions with BatchNorm behind each, in half precision as autocast has it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4))

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.layers(x)


def frozen():
    norm = nn.BatchNorm2d(6)
    norm.weight.requires_grad_(False)
    return norm


IMAGES, DOUBLE, SINGLE = (12, 6, 3, 5), (torch.float64, 1e-12), (torch.float32, 1e-5)
HALF, BRAIN = (torch.float16, 2e-2), (torch.bfloat16, 1e-1)
CASES = {
    "images": (lambda: nn.BatchNorm2d(6), IMAGES, *DOUBLE),
    "vectors": (lambda: nn.BatchNorm1d(6), (12, 6), *DOUBLE),
    "sequences": (lambda: nn.BatchNorm1d(6), (12, 6, 5), *DOUBLE),
    "volumes": (lambda: nn.BatchNorm3d(6), (12, 6, 2, 3, 2), *DOUBLE),
    "single precision": (lambda: nn.BatchNorm2d(6), IMAGES, *SINGLE),
    "far from zero": (lambda: nn.BatchNorm2d(6), IMAGES, torch.float32, 5e-3),
    "float16": (lambda: nn.BatchNorm2d(6), IMAGES, *HALF),
    "bfloat16": (lambda: nn.BatchNorm2d(6), IMAGES, *BRAIN),
    "autocast": (Halves, IMAGES, torch.float32, 1e-1),
    "channels last": (lambda: nn.BatchNorm2d(6).to(memory_format=torch.channels_last), IMAGES, *DOUBLE),
    "without weights": (lambda: nn.BatchNorm2d(6, affine=False), IMAGES, *DOUBLE),
    "frozen weight": (frozen, IMAGES, *DOUBLE),
    "without running statistics": (lambda: nn.BatchNorm2d(6, track_running_stats=False), IMAGES, *DOUBLE),
    "cumulative": (lambda: nn.BatchNorm2d(6, momentum=None), IMAGES, *DOUBLE),
    "with activation": (lambda: nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(inplace=True)), IMAGES, *DOUBLE),
    "sliced": (lambda: Sliced(6), (12, 4, 3, 5), *DOUBLE),
    "in evaluation": (lambda: nn.BatchNorm2d(6).eval(), IMAGES, *DOUBLE),
}


def on_rank(rank, world):
    """Two forward and backward passes of each case, on this rank's share of the images."""
    from ranks import Collectives

    results = {}
    for name, (build, shape, dtype, _) in CASES.items():
        torch.manual_seed(0)
        norm = build().to(dtype)
        for tensor in [*norm.parameters(), *norm.buffers()]:
            if tensor.is_floating_point():
                tensor.detach().uniform_(0.5, 1.5)
        result = results[name] = {}
        for k in range(2):
            spread, centre = (0.05, 100) if name == "far from zero" else (2, 3)
            images = (torch.randn(shape) * spread + centre).to(dtype).split(SHARES[world])[rank].contiguous()
            if name == "channels last":
                images = images.to(memory_format=torch.channels_last)
            images.requires_grad_()
            with Collectives() as forward, synced_batchnorm():
                out = norm(images)
            cotangent = torch.randn(12, *out.shape[1:]).split(SHARES[world])[rank]
            with Collectives() as backward:
                (out * cotangent.to(out)).sum().backward()
            result |= {f"out {k}": out.detach(), f"images {k}": images.grad}
        result["sent"] = [sum(mode.counts.values()) for mode in (forward, backward)]
        result["gradients"] = {key: p.grad for key, p in norm.named_parameters() if p.requires_grad}
        result["buffers"] = dict(norm.named_buffers())
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return run_on_ranks(__file__, tmp_path_factory.mktemp("batchnorm"))


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("name", CASES)
def test_all_ranks_together_normalise_as_one_process_with_the_whole_batch(results, name, world):
    whole, parts = results[1, 0][name], [results[world, rank][name] for rank in range(world)]
    tolerance = CASES[name][3]

    def check(one, other, key):
        assert one.dtype == other.dtype, key
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, msg=lambda m: f"{key}: {m}")

    for key in ("out 0", "images 0", "out 1", "images 1"):
        check(torch.cat([part[key] for part in parts]), whole[key], key)
    for key, gradient in whole["gradients"].items():
        check(sum(part["gradients"][key] for part in parts), gradient, key)
    for key, buffer in whole["buffers"].items():
        check(parts[0]["buffers"][key], buffer, key)
        assert all(torch.equal(part["buffers"][key], parts[0]["buffers"][key]) for part in parts)
    layers = {"in evaluation": 0, "autocast": 2}.get(name, 1)
    assert all(part["sent"] == [layers, layers] for part in parts)


def test_one_rank_is_left_alone():
    norm, images = nn.BatchNorm1d(3), torch.randn(4, 3)
    expected = nn.BatchNorm1d(3)(images)
    with synced_batchnorm():
        assert torch.equal(norm(images), expected)
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            norm(images[:1])
