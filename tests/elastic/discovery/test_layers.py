"""Layers of PyTorch whose numbers restate their weight's axes: what is cut out says the sizes that it has."""

import pytest
import torch
from counting import macs_of, memory_of, params_of
from small import randomise
from torch import nn
from torch.nn.utils import parametrizations

import elastic

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
INSTANCE = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


def between(layers, dims):
    """Layers between two convolutions, and an input."""
    model = nn.Sequential(CONV[dims](3, 32, 3, padding=1), *layers, CONV[dims](16, 2, 1))
    return randomise(model).eval(), torch.randn(2, 3, *[4] * dims)


@torch.no_grad()
def checked(model, x, recipe=None):
    """The smallest subnet, which gives what it gives in place, and costs what is said."""
    options = {"input_size": x.shape[1:], "choices": {"resolution": None}} if recipe is None else {}
    if x.ndim != 4 or x.shape[2] < 8:
        options.pop("choices", None)
    supernet = elastic.elasticize(model, recipe, **options)
    arch = {**supernet.space.smallest}
    subnet = supernet.extract(arch)
    with supernet.active(arch):
        assert torch.equal(supernet(x), subnet(supernet.resize(x)))
    one = torch.zeros(1, *supernet.input_shape(supernet.space.arch(arch)))
    assert supernet.params(arch) == params_of(subnet)
    assert supernet.macs(arch) == macs_of(subnet, one)
    assert supernet.memory(arch) == memory_of(subnet, one)
    return subnet


@pytest.mark.parametrize("dims", TRANSPOSED)
@pytest.mark.parametrize("groups", [1, 4])
def test_transposed_convolutions(dims, groups):
    layers = [nn.ReLU(), TRANSPOSED[dims](32, 16, 2, 2, groups=groups), nn.ReLU()]
    subnet = checked(*between(layers, dims))
    up = subnet[2]
    assert (up.in_channels, up.out_channels) == (up.weight.shape[0], up.groups * up.weight.shape[1])
    assert up.bias.shape == (up.out_channels,)
    assert up.in_channels == 16
    assert subnet[0].out_channels == 16
    assert f"({up.in_channels}, {up.out_channels}," in str(up)


def test_transposed_convolutions_by_hand():
    model, x = between([nn.ConvTranspose2d(32, 16, 2, 2)], 2)
    layout = {"0": "a 3 3 3", "1": "a b 2 2", "2.weight": "2 b 1 1"}
    dims = dict.fromkeys("ab", elastic.DimRule((0.5, 1.0)))
    subnet = checked(model, x, elastic.Recipe(layout, dims, input_size=(3, 4, 4)))
    assert (subnet[1].in_channels, subnet[1].out_channels, len(subnet[1].bias)) == (16, 8, 8)


@pytest.mark.parametrize("dims", INSTANCE)
@pytest.mark.parametrize(("affine", "statistics"), [(False, False), (True, False), (True, True), (False, True)])
def test_instance_norms(dims, affine, statistics):
    norm = INSTANCE[dims](32, affine=affine, track_running_stats=statistics)
    subnet = checked(*between([norm, CONV[dims](32, 16, 1)], dims))
    assert subnet[1].num_features == subnet[0].out_channels == 16


@pytest.mark.parametrize("parameters", [1, 32])
def test_prelu(parameters):
    subnet = checked(*between([nn.PReLU(parameters), nn.Conv2d(32, 16, 1)], 2))
    assert subnet[0].out_channels == 16
    assert subnet[1].num_parameters == len(subnet[1].weight) == min(parameters, 16)


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_parametrised_weights_follow_or_say_why_not(wrap):
    model = nn.Sequential(nn.Linear(4, 32), wrap(nn.Linear(32, 32)), nn.Linear(32, 16), nn.Linear(16, 3))
    supernet = elastic.elasticize(randomise(model).eval(), input_size=(4,))
    writes_its_buffers = wrap is parametrizations.spectral_norm  # in training mode, whole
    assert ("hidden.2" in supernet.space.names) != writes_its_buffers
    assert ("hidden.2" in supernet.recipe.notes) == writes_its_buffers
    assert any("parametrizations" in where + why for where, why in supernet.recipe.notes.items())
    arch, x = supernet.space.smallest, torch.randn(2, 4)
    subnet = supernet.extract(arch)
    with torch.no_grad(), supernet.active(arch):
        assert torch.equal(supernet(x), subnet(x))
    assert subnet[1].in_features == subnet[1].weight.shape[1]


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated", "ignore:nothing of this Sequential")
@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_made_by_hooks(wrap):
    model = nn.Sequential(nn.Linear(4, 32), wrap(nn.Linear(32, 16)), nn.ReLU(), nn.Linear(16, 3)).eval()
    supernet, x = elastic.elasticize(model, input_size=(4,)), torch.randn(2, 4)
    with torch.no_grad(), supernet.active(supernet.space.smallest):
        assert torch.equal(supernet(x), supernet.extract(supernet.space.smallest)(x))
