"""Kinds of models that only discovery makes elastic: exact, and with exact costs, whatever they take and give."""

import pytest
import torch
from counting import macs_of, memory_of, params_of
from discovered_families import CASES, supernet
from examples import mostly_swept

from elastic.errors import CostError
from elastic.support.inputs import run_model
from elastic.support.tensors import outputs_of
from elastic.testing import maskable, masked

ALWAYS = {"lstm", "u-net", "coat", "BartForConditionalGeneration", "Gemma4ForCausalLM"} & set(CASES)
families = pytest.mark.parametrize("name", mostly_swept(CASES, ALWAYS))


def outputs(model, inputs):
    return outputs_of(run_model(model, inputs))


def archs(made):
    return [made.space.smallest, *made.space.sample(1, 2)]


@families
@torch.no_grad()
def test_what_is_discovered_is_exact(name):
    made, model, inputs = supernet(name), CASES[name].model(), CASES[name].inputs
    assert {dim.kind for dim in made.space.dims} >= CASES[name].kinds
    assert all(map(torch.equal, outputs(made.model, inputs), outputs(model, inputs)))
    assert list(made.model.state_dict()) == list(model.state_dict())
    for arch in archs(made):
        resized = made.resize(inputs)
        with made.active(arch):
            active = outputs(made.model, resized)
        assert all(tensor.isfinite().all() for tensor in active)
        assert all(map(torch.equal, active, outputs(made.extract(arch), resized)))


@families
@torch.no_grad()
def test_sliced_is_masked(name):
    made, inputs = supernet(name), CASES[name].inputs
    chosen = [maskable(made, arch) for arch in archs(made)]
    assert chosen[0] != made.space.largest
    for arch in chosen:
        pairs = zip(outputs(made.extract(arch), inputs), outputs(masked(made, arch), inputs), strict=True)
        for sliced, whole in pairs:
            assert torch.allclose(sliced, whole, rtol=0, atol=1e-3 * float(sliced.abs().max()))


@families
@torch.no_grad()
def test_formulas_are_counted_costs(name):
    made = supernet(name)
    chosen = [*archs(made), *made.space.sample(5, 3)]
    subnets = [made.extract(arch).requires_grad_(False) for arch in chosen]  # the counter asks for gradients otherwise
    inputs = [made.example_inputs(arch, seed=0) for arch in chosen]
    assert made.params(chosen).tolist() == [params_of(subnet) for subnet in subnets]
    assert made.macs(chosen).tolist() == list(map(macs_of, subnets, inputs))
    if CASES[name].memory:
        assert made.memory(chosen).tolist() == list(map(memory_of, subnets, inputs))
    else:
        with pytest.raises(CostError, match="peak memory: the recurrent layer 'states'"):
            made.memory(chosen)
