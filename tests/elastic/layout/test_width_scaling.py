"""Scaled weights against the plain supernet's, multiplied by hand in each extracted subnet."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from examples import few
from families import CASES
from gradients import gradients, same
from hypothesis import given
from hypothesis import strategies as st
from small import mobilenet, randomise, vit
from torch import nn

import elastic
from elastic import DimRule, Recipe, SupernetSource
from elastic.layers.read_rules import TensorRule
from elastic.supernet.folder import digest_supernet, load_supernet, save_supernet
from elastic.supernet.inspection import inspect, render


def family(name):
    case = CASES[name]
    return lambda **options: elastic.elasticize(case.model(), resolutions=case.resolutions, **case.options, **options)


# how to make one, and a coupling for when both options are on
FAMILIES = {
    "mobilenet": (lambda **options: mobilenet(kernel_transforms=True, **options), {"mid": "depth"}),
    "vit": (vit, {"hidden": "heads"}),
    "resnext": (family("resnext"), {"width": "stem", "groups": "stem"}),
    "convnext": (family("convnext"), {"hidden.[12].*": "depth"}),
}
families = pytest.mark.parametrize("name", FAMILIES, scope="module")
seeds = st.integers(0, 2**31)
_made = {}


def made(name, **options):
    key = (name, *options)
    if key not in _made:
        _made[key] = FAMILIES[name][0](**options)
    return _made[key]


def images(supernet):
    return torch.randn(2, *supernet.input_shape(), generator=torch.Generator().manual_seed(1))


def factors(plain, arch):
    """By path in the extracted subnet: √(inputs of the weight at full width / its inputs)."""
    wide = {dim.name: arch[dim.name] if dim.kind == "depth" else dim.full for dim in plain.space.dims}
    full, own = (dict(plain.extract(one).named_modules()) for one in (wide, arch))
    layers = {path: module for path, module in own.items() if isinstance(module, (nn.Linear, nn.Conv2d))}
    return {path: math.sqrt(full[path].weight.shape[1] / one.weight.shape[1]) for path, one in layers.items()}


@families
@torch.no_grad()
def test_full_size_is_the_original(name):
    plain, scaled = made(name), made(name, width_scaling=True)
    assert torch.equal(scaled(images(scaled)), plain(images(plain)))
    assert list(scaled.state_dict()) == list(plain.state_dict())
    for one, other in zip(scaled.model.modules(), plain.model.modules(), strict=True):
        if isinstance(getattr(one, "weight", None), torch.Tensor):
            assert torch.equal(one.weight, other.weight)


@families
@given(seed=seeds)
@few
@torch.no_grad()
def test_weights_are_multiplied_and_nothing_else(name, seed):
    plain, scaled = made(name), made(name, width_scaling=True)
    for arch in (plain.space.smallest, plain.space.sample(seed)):
        subnet, found = scaled.extract(arch), factors(plain, arch)
        assert arch != plain.space.smallest or any(factor > 1 for factor in found.values())
        for (key, own), wanted in zip(
            subnet.state_dict().items(), plain.extract(arch).state_dict().values(), strict=True
        ):
            path, _, tensor = key.rpartition(".")
            if tensor == "weight" and found.get(path, 1.0) != 1:
                assert torch.allclose(own, wanted * found[path], rtol=1e-6, atol=0), key
            else:
                assert torch.equal(own, wanted), key


@families
@pytest.mark.parametrize("both", [False, True])
@given(seed=seeds)
@few
@torch.no_grad()
def test_active_is_extracted(name, both, seed):
    scaled = made(name, width_scaling=True, **({"couple": FAMILIES[name][1]} if both else {}))
    arch = scaled.space.sample(seed)
    with scaled.active(arch):
        active, resized = scaled(images(scaled)), scaled.resize(images(scaled))
    subnet = scaled.extract(arch)
    assert torch.equal(active, subnet(resized))
    assert scaled.params([arch])[0] == sum(parameter.numel() for parameter in subnet.parameters())


@pytest.mark.parametrize("name", ["vit", "mobilenet"])
def test_costs_are_as_without(name):
    plain, scaled = made(name), made(name, width_scaling=True)
    rows = plain.space.sample_rows(0, 50)
    for cost in ("macs", "params", "memory"):
        assert np.array_equal(getattr(scaled, cost)(rows), getattr(plain, cost)(rows)), cost


@families
@torch.no_grad()
def test_sorting_acts_on_stored_weights(name):
    plain, scaled = (copy.deepcopy(made(name, **options)) for options in ({}, {"width_scaling": True}))
    scores, before = elastic.importance(scaled), scaled(images(scaled))
    assert all(map(torch.equal, scores.values(), elastic.importance(plain).values()))
    for one in (plain, scaled):
        one.sort(scores)
    assert all(map(torch.equal, scaled.parameters(), plain.parameters()))
    assert (scaled(images(scaled)) - before).abs().max() <= 1e-4 * before.abs().max()


@pytest.mark.parametrize("name", ["vit", "mobilenet"])
def test_training_in_place_is_slicing(name):
    slicing, in_place = (FAMILIES[name][0](width_scaling=True).train() for _ in range(2))
    archs, x = [*slicing.space.sample(0, 3), slicing.space.largest], torch.randn(2, 3, 32, 32)
    with in_place.training_in_place():
        for _ in range(2):
            same(gradients(slicing, archs, x), gradients(in_place, archs, x))


def test_gradients_are_those_of_the_scaled_weight_times_the_factor():
    scaled, x = vit(width_scaling=True), torch.randn(2, 3, 32, 32)
    arch = scaled.space.variant({"resolution": 32}, of=scaled.space.smallest)
    subnet, found = scaled.extract(arch), factors(made("vit"), arch)
    subnet(x).square().mean().backward()
    stored = gradients(scaled, [arch], x)
    for path in ("blocks.0.mlp.fc2", "blocks.1.attn.proj", "head"):
        own = subnet.get_submodule(path).weight.grad
        wanted = torch.zeros_like(stored[f"model.{path}.weight"])
        wanted[tuple(map(slice, own.shape))] = own * found[path]
        assert torch.allclose(stored[f"model.{path}.weight"], wanted, rtol=1e-5, atol=1e-7), path


def test_what_has_all_its_inputs_is_left_alone():
    rules = made("mobilenet", width_scaling=True).layout.rules | made("resnext", width_scaling=True).layout.rules
    scaled = {path for path, own in rules.items() if getattr(own.get("weight"), "fan_in", None) is not None}
    assert {"blocks.1.1.conv_pw", "blocks.1.1.conv_pwl", "classifier", "layer3.0.conv3", "fc"} <= scaled
    assert not {"conv_stem", "blocks.1.1.conv_dw", "layer3.0.conv2", "conv1"} & scaled  # images, groups of fixed width
    assert all(rule.fan_in is None for own in rules.values() for name, rule in own.items()
               if isinstance(rule, TensorRule) and name != "weight")  # fmt: skip


# --- models of one's own --------------------------------------------------------------------------------------


class Doubled:
    """A transform to tell apart from slicing: narrow weights are twice what is stored."""

    def __call__(self, tensor, module):
        return tensor if module.in_features == 64 else tensor * 2

    def setup(self, module):
        pass

    def parameter_names(self):
        return ()


class Tied(nn.Module):
    """Token embeddings that are the classifier's weight, too."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(7, 64)
        self.mix = nn.Linear(64, 64)
        self.head = nn.Linear(64, 7)
        self.head.weight = self.tokens.weight

    def forward(self, x):
        return self.head(self.mix(self.tokens(x)))


RECIPE = Recipe(
    {"tokens": "7 (heads 8)", "mix": "(heads 8) (heads 8)", "head": "7 (heads 8)"},
    {"heads": DimRule((2, 4, 8))},
    transforms={"mix": Doubled()},
    width_scaling=True,
)


def test_it_composes_with_transforms_and_factors_and_leaves_tied_weights_alone():
    supernet = elastic.elasticize(randomise(Tied()), RECIPE)
    stored, x = supernet.model.mix.weight.detach().clone(), torch.arange(7)
    for heads in (2, 4, 8):
        arch = {"heads": heads}
        subnet = supernet.extract(arch)
        assert subnet.head.weight is subnet.tokens.weight
        with supernet.active(arch):
            assert torch.equal(supernet(x), subnet(x))
            assert torch.equal(supernet.model.head.weight, supernet.model.tokens.weight)
        wanted = stored[: 8 * heads, : 8 * heads] * (1 if heads == 8 else 2) * math.sqrt(8 / heads)
        assert torch.allclose(subnet.mix.weight, wanted, rtol=1e-6)


def test_outputs_are_as_large_at_every_width():
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(256, 512, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(512, 256, generator=generator))
    model, x = nn.Sequential(layer), torch.randn(100, 256, generator=generator)
    recipe = Recipe({"0": "_ width"}, {"width": DimRule((64, 128))})
    supernet = elastic.elasticize(model, recipe, width_scaling=True)
    full = supernet(x).std()
    for width in (64, 128):
        with supernet.active({"width": width}):
            assert abs(supernet(x[:, :width]).std() / full - 1) < 0.05


# --- files ----------------------------------------------------------------------------------------------------

SOURCE = SupernetSource(
    "vit_tiny_patch16_224",
    {"num_classes": 5, "img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3},
    couple={"hidden": "heads"},
    width_scaling=True,
)


@torch.no_grad()
def test_folders_remember_it_and_the_digest_tells(tmp_path):
    supernet = SOURCE.build()
    randomise(supernet.model)
    assert SupernetSource.from_dict(json.loads(json.dumps(SOURCE.to_dict()))) == SOURCE
    loaded = load_supernet(save_supernet(supernet, SOURCE, tmp_path / "net"))
    arch = loaded.space.smallest
    subnet, x = loaded.extract(arch), torch.randn(2, *loaded.input_shape(arch))
    with supernet.eval().active(arch):
        assert torch.equal(supernet(x), subnet(x))
    elastic.export(subnet, tmp_path / "subnet", example=x, arch=arch, source=SOURCE)
    again, _ = elastic.load_subnet(tmp_path / "subnet")
    assert torch.equal(again(x), subnet(x))
    plain = SupernetSource.from_dict({**SOURCE.to_dict(), "width_scaling": False}).build()
    assert digest_supernet(plain) != digest_supernet(supernet) == digest_supernet(loaded)


def test_inspection_says_it():
    assert inspect(made("vit", width_scaling=True)).width_scaling
    assert "weights are scaled" in str(render(inspect(made("vit", width_scaling=True))).renderables[0])
    assert not inspect(made("vit")).width_scaling
