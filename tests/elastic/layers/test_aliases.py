"""Training in place against slicing: the same outputs, the same gradients, fewer operators."""

import copy
from contextlib import nullcontext

import pytest
import torch
from examples import few
from gradients import gradients, same
from hypothesis import given
from hypothesis import strategies as st
from small import FAMILIES, mobilenet
from torch.utils._python_dispatch import TorchDispatchMode

families = pytest.mark.parametrize("family", FAMILIES)


class Count(TorchDispatchMode):
    """How many operators run."""

    n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += 1
        return func(*args, **(kwargs or {}))


@families
@given(seed=st.integers(0, 2**31), keep=st.booleans())
@few
def test_in_place_is_slicing(family, seed, keep):
    slicing, in_place = FAMILIES[family]().train(), FAMILIES[family]().train()
    archs = slicing.space.sample(seed, 3)
    x = torch.randn(2, 3, 32, 32)
    with in_place.training_in_place():
        for _ in range(2):  # aliases of the first round serve the second
            slicing.zero_grad(set_to_none=not keep)
            in_place.zero_grad(set_to_none=not keep)
            same(gradients(slicing, archs, x), gradients(in_place, archs, x))
            for supernet in (slicing, in_place):
                with torch.no_grad():
                    for parameter in supernet.parameters():
                        if parameter.grad is not None:
                            parameter -= 0.1 * parameter.grad
    for name, tensor in slicing.state_dict().items():
        assert torch.equal(tensor, in_place.state_dict()[name]), name


def test_a_step_runs_the_extracted_models_operators():
    supernet, x = mobilenet().train(), torch.randn(2, 3, 32, 32)
    arch = supernet.space.variant({"resolution": 32}, of=supernet.space.sample(1))
    subnet = supernet.extract(arch)
    with supernet.training_in_place():
        gradients(supernet, [supernet.space.largest, arch], x)
        supernet.zero_grad(set_to_none=False)
        with Count() as elastic_step:
            supernet.activate(arch)
            supernet.model(x).sum().backward()
    subnet(x).sum().backward()
    subnet.zero_grad(set_to_none=False)
    with Count() as plain_step:
        subnet(x).sum().backward()
    assert elastic_step.n == plain_step.n


def test_memory_that_moves_is_noticed():
    supernet, x = mobilenet().train(), torch.randn(2, 3, 32, 32)
    arch = supernet.space.smallest
    with supernet.training_in_place():
        supernet.activate(arch)
        supernet.double()
        assert supernet(x.double()).dtype == torch.float64
        supernet.float()
        fresh = copy.deepcopy(supernet)
        with torch.no_grad():
            for parameter in supernet.parameters():
                parameter.data = torch.zeros_like(parameter)
        supernet.activate(arch)
        assert supernet(x).abs().max() == 0
        assert fresh(x).abs().max() > 0
        supernet.load_state_dict(fresh.state_dict(), assign=True)
        assert torch.equal(supernet.eval()(x), fresh.eval()(x))
    assert torch.equal(supernet(x), fresh(x))


def test_frozen_parameters_stay_frozen():
    supernet, x = mobilenet().train(), torch.randn(2, 3, 32, 32)
    with supernet.training_in_place():
        gradients(supernet, [supernet.space.largest], x)
        supernet.zero_grad()
        supernet.model.conv_stem.requires_grad_(False)
        found = gradients(supernet, [supernet.space.largest], x)
    assert found["model.conv_stem.weight"] is None
    assert found["model.blocks.0.0.conv_dw.weight"] is not None


@families
def test_gradients_may_be_dropped_between_forward_and_backward(family):
    slicing, in_place = FAMILIES[family]().train(), FAMILIES[family]().train()
    arch, x = slicing.space.sample(3), torch.randn(2, 3, 32, 32)
    found = []
    with in_place.training_in_place():
        for supernet in (slicing, in_place):
            for _ in range(3):
                supernet.activate(arch)
                loss = supernet(x).square().mean()
                supernet.zero_grad(set_to_none=True)
                loss.backward()
            found.append({name: p.grad for name, p in supernet.named_parameters()})
    same(*found)


@families
def test_gradients_of_features_may_be_dropped_before_the_backward_pass_too(family):
    """The loss is on what a module inside the model gives, and the backward pass is after the block."""
    slicing, in_place = FAMILIES[family]().train(), FAMILIES[family]().train()
    arch, x = slicing.space.sample(3), torch.randn(2, 3, 32, 32)
    found = []
    for supernet in (slicing, in_place):
        with supernet.training_in_place() if supernet is in_place else nullcontext(), supernet.active(arch):
            for _ in range(2):
                features = supernet.model.forward_features(supernet.resize(x))
                supernet.zero_grad(set_to_none=True)
                features.square().mean().backward()
            features = supernet.model.forward_features(supernet.resize(x))
        supernet.zero_grad(set_to_none=True)
        features.square().mean().backward()
        found.append({name: p.grad for name, p in supernet.named_parameters()})
    same(*found)


def test_in_place_within_in_place():
    supernet, x = mobilenet().train(), torch.randn(2, 3, 32, 32)
    with supernet.training_in_place():
        with supernet.training_in_place():
            pass
        gradients(supernet, [supernet.space.smallest], x)
        assert supernet.layout.aliases()
    assert not supernet.layout.aliases()


@families
def test_what_is_cut_out_meanwhile_has_no_part_in_it(family):
    supernet, x = FAMILIES[family]().train(), torch.randn(2, 3, 32, 32)
    with supernet.training_in_place():
        subnet = supernet.extract(supernet.space.largest)
        assert not subnet._forward_hooks
        subnet(x).sum().backward()
        assert not any(parameter.grad is not None and parameter.grad.any() for parameter in supernet.parameters())
        supernet(x).sum().backward()
    assert all(parameter.grad is not None for parameter in supernet.parameters())
