"""Sliced = masked: zeros for what an arch leaves out of the full network give what its subnet gives.

That active and extracted subnets agree can't show a number that both read wrongly; this can. Left out are sizes that a
norm spans, since it divides by what is there, and blocks, which aren't masked.
"""

import pytest
import torch
from families import CASES, supernet
from torch import nn

from elastic.layers.read_rules import TensorRule, stored_tensor

SPANS = ("LayerNorm", "GroupNorm", "RmsNorm", "GlobalResponseNorm", "ScaledStdConv")
SPANNED = {"convnext-v2", "mobilenet-v3 with matrices", "efficientnet of tensorflow"}
"""A norm spans the hidden units of the first; kernels of the others are transformed, not cut."""
MASKED = [name for name in CASES if name not in SPANNED]


def chosen(made, seed):
    """An arch whose sizes no norm spans."""
    normed = any(kind in type(one).__name__ for one in made.model.modules() for kind in SPANS)
    free = {"heads", "hidden", "mid", "kernel"} if normed else None
    arch = made.space.sample(seed) if seed else made.space.smallest
    kept = {"depth", "resolution"}
    values = {
        dim.name: dim.full if dim.kind in kept or (free and dim.kind not in free) else arch.get(dim.name, dim.full)
        for dim in made.space.dims
    }
    return made.space.arch(values)


def masked(made, arch):
    """The full network, zero where `arch` leaves something out."""
    full = made.extract(made.space.largest)
    with made.active(arch):
        for path, rules in made.layout.rules.items():
            module, plain = made.model.get_submodule(path), full.get_submodule(path)
            for name, rule in rules.items():
                if isinstance(rule, TensorRule) and isinstance(plain._parameters.get(name), nn.Parameter):
                    mask = torch.zeros_like(stored_tensor(module, name))
                    rule.axes.put(mask, torch.ones(tuple(axis.value for axis in rule.axes.axes)))
                    plain._parameters[name].mul_(mask)
    return full


@pytest.mark.parametrize("name", MASKED)
@torch.no_grad()
def test_sliced_is_masked(name):
    made, images = supernet(name), CASES[name].images()
    for seed in (0, 1):
        arch = chosen(made, seed)
        assert arch != made.space.largest
        sliced, whole = made.extract(arch)(images), masked(made, arch)(images)
        assert torch.allclose(sliced, whole, rtol=0, atol=1e-3 * float(sliced.abs().max()))
