"""Coupled choices against the same supernet uncoupled, whose archs are spelled out one size at a time."""

import copy
import io
import itertools
import json
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from examples import few
from families import CASES
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from small import mobilenet, randomise, vit
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import elastic
from elastic import DimRule, Recipe, SupernetSource
from elastic.errors import CheckpointError, LayoutError
from elastic.reporting.drawing import draw_subnet
from elastic.space.sizes import Derived
from elastic.supernet.folder import digest_supernet, load_supernet, save_supernet
from elastic.supernet.inspection import inspect, render

BLOCKS = ["1.0", "1.1", "1.2", "2.0", "2.1"]


def family(name):
    case = CASES[name]
    return lambda **options: elastic.elasticize(case.model(), resolutions=case.resolutions, **case.options, **options)


def matrices(**options):
    return mobilenet(kernel_transforms=True, **options)


def padded(**options):
    """Pads its images for each kernel, where memory is at its peak."""
    stages = [["ir_r3_k7_s2_e6_c16"], ["ir_r2_k5_s2_e6_c24"]]
    model = MobileNetV3(decode_arch_def(stages), num_classes=5, num_features=32, pad_type="same")
    return elastic.elasticize(randomise(model), input_size=(3, 32, 32), resolutions=[24, 32], **options)


# how to make one, its option `couple`, and who follows whom by that
COUPLED = {
    "mobilenet": (
        mobilenet,
        {"mid": "depth", "kernel": "depth"},
        {f"{kind}.{place}": f"depth.{place[0]}" for kind in ("mid", "kernel") for place in BLOCKS},
    ),
    "mobilenet with matrices": (
        matrices,
        {"kernel": "mid", "kernel.1.1": "depth", "width.2": "stem"},
        {f"kernel.{place}": f"mid.{place}" for place in BLOCKS} | {"kernel.1.1": "depth.1", "width.2": "stem"},
    ),
    "mobilenet padded": (
        padded,
        {"kernel": "depth", "mid": "depth"},
        {f"{kind}.{i}.{j}": f"depth.{i}" for kind in ("kernel", "mid") for i in (0, 1) for j in range(3 - i)},
    ),
    "vit": (vit, {"hidden": "heads"}, {f"hidden.{i}": f"heads.{i}" for i in range(3)}),
    "vit by depth": (
        vit,
        {"h*": "depth", "embed": "depth"},
        {f"{kind}.{i}": "depth" for kind in ("heads", "hidden") for i in range(3)} | {"embed": "depth"},
    ),
    "resnet": (
        family("resnet bottleneck"),
        {"mid.[12].*": "depth", "width.3": "width.1"},
        {f"mid.{place}": f"depth.{place[0]}" for place in [*BLOCKS, "2.2"] if place != "1.2"} | {"width.3": "width.1"},
    ),
    "resnext": (
        family("resnext"),
        {"groups": "width", "stem": "width.1"},
        {"groups.3.0": "width.3", "stem": "width.1"},
    ),
}
every = pytest.mark.parametrize("name", COUPLED, scope="module")
seeds = st.integers(0, 2**31)
_pairs = {}


def pair(name):
    """A supernet coupled and as it is, of the same weights."""
    if name not in _pairs:
        make, couple, _ = COUPLED[name]
        _pairs[name] = make(couple=couple), make()
    return _pairs[name]


def spelled_out(name, arch):
    """The same subnet's arch without coupling: each follower's nearest rank looked for, larger ones first."""
    plain, values = pair(name)[1].space, dict(arch)
    for follower, leader in COUPLED[name][2].items():
        if leader in arch:
            choices, own = plain[leader].choices, plain[follower].choices
            share = Fraction(choices.index(arch[leader]), len(choices) - 1)
            values[follower] = min(reversed(own), key=lambda c: abs(Fraction(own.index(c), len(own) - 1) - share))
    return plain.arch(values)


@every
def test_followers_are_no_dims_and_the_corners_stay(name):
    coupled, plain = pair(name)
    led = COUPLED[name][2]
    assert set(coupled.space.names) == set(plain.space.names) - led.keys()
    assert spelled_out(name, coupled.space.largest) == plain.space.largest
    assert spelled_out(name, coupled.space.smallest) == plain.space.smallest


@every
@given(seed=seeds)
@few
@torch.no_grad()
def test_a_coupled_subnet_is_the_one_spelled_out(name, seed):
    coupled, plain = pair(name)
    arch = coupled.space.sample(seed)
    assert coupled.space.decode(coupled.space.encode([arch])) == [arch]
    images = torch.randn(2, *coupled.input_shape(), generator=torch.Generator().manual_seed(1))
    with coupled.active(arch), plain.active(spelled_out(name, arch)):
        active, resized = coupled(images), coupled.resize(images)
        assert torch.equal(active, plain(images))
    subnet = coupled.extract(arch)
    assert torch.equal(active, subnet(resized))
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        subnet(resized[:1])
    assert coupled.macs([arch])[0] == counter.get_total_flops() // 2
    assert coupled.params([arch])[0] == sum(parameter.numel() for parameter in subnet.parameters())


@every
def test_costs_are_those_of_the_subnets_spelled_out(name):
    coupled, plain = pair(name)
    rows = coupled.space.sample_rows(0, 50)
    same = [spelled_out(name, arch) for arch in coupled.space.decode(rows)]
    for cost in ("macs", "params", "memory"):
        assert np.array_equal(getattr(coupled, cost)(rows), getattr(plain, cost)(same)), cost


@every
def test_every_distinct_subnet_is_counted_once(name):
    make, couple, _ = COUPLED[name]
    coupled, plain = make(couple=couple), pair(name)[1]
    kept = ("depth.1", "depth.2", "depth.3", "depth", "width.2", "stem", "mid.1.0", "heads")
    space = coupled.space.narrow({dim.name: dim.full for dim in coupled.space.dims if not dim.name.startswith(kept)})
    values = [dict(zip(space.names, v, strict=True)) for v in itertools.product(*(dim.choices for dim in space.dims))]
    networks = {spelled_out(name, coupled.space.arch(value)) for value in values}
    assert all(network in plain.space for network in networks)
    assert space.size == len(networks)


def test_compofa_has_243_subnets():
    with torch.device("meta"):
        stages = [[f"ir_r4_k5_s2_e6_c{8 * width}"] for width in range(2, 7)]
        model = MobileNetV3(decode_arch_def(stages), num_classes=5)
    thirds = {"depth": [2, 3, 4], "mid": [0.5, 4 / 6], "kernel": None, "stem": None, "width": None, "head": None}
    supernet = elastic.elasticize(model, choices=thirds, couple={"mid": "depth"}, input_size=(3, 64, 64))
    assert supernet.space.size == 3**5 == 243
    arch = supernet.space.variant({"depth.0": 2, "depth.1": 3})
    supernet.activate(arch)
    expansions = [stage[1].conv_pw.out_channels / stage[1].conv_pw.in_channels for stage in supernet.model.blocks]
    assert expansions == [3, 4, 6, 6, 6]


# --- sorting, copies, files -----------------------------------------------------------------------------------


@torch.no_grad()
def test_sorting_and_importance_see_stored_weights():
    coupled, plain = (copy.deepcopy(one) for one in pair("mobilenet"))
    images = torch.randn(2, 3, 32, 32)
    scores = elastic.importance(coupled)
    before = coupled(images)
    assert all(map(torch.equal, scores.values(), elastic.importance(plain).values()))
    for one in (coupled, plain):
        one.sort(scores)
    assert all(map(torch.equal, coupled.model.parameters(), plain.model.parameters()))
    assert (coupled(images) - before).abs().max() <= 1e-4 * before.abs().max()
    narrow = coupled.space.narrow({"depth.1": 2})
    coupled.activate(narrow.largest)
    before = coupled(images)
    coupled.sort({name: -score for name, score in scores.items()}, within=narrow)
    assert (coupled(images) - before).abs().max() <= 1e-4 * before.abs().max()


class Pair(nn.Module):
    """Two layers whose widths are offered as ratios of one number."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(4, 8)
        self.mid = nn.Linear(8, 8)
        self.down = nn.Linear(8, 3)

    def forward(self, x):
        return self.down(self.mid(self.up(x)))


def test_ratios_lead_and_follow():
    ratio = DimRule((0.25, 0.5, 1.0), ratio=True)
    recipe = Recipe(
        {"up": "a 4", "mid": "b a", "down": "3 b"},
        {"scale": ratio, "shrink": ratio},
        {"a": Derived(("scale",), Fraction(8)), "b": Derived(("shrink",), Fraction(8))},
        input_size=(4,),
        couple={"shrink": "scale"},
    )
    supernet = elastic.elasticize(randomise(Pair()), recipe)
    assert supernet.space.size == 3
    x = torch.randn(2, 4)
    for arch in supernet.space.sample(0, 5):
        subnet = supernet.extract(arch)
        assert subnet.mid.weight.shape == (8 * arch["scale"], 8 * arch["scale"])
        with supernet.active(arch):
            assert torch.equal(supernet(x), subnet(x))
        assert supernet.macs([arch])[0] == sum(p.numel() for p in subnet.parameters() if p.ndim == 2)


def test_copies_and_pickles_stay_coupled():
    coupled = pair("vit")[0]
    arch, images = coupled.space.sample(4), torch.randn(2, 3, 32, 32)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(coupled)))
    twin.activate(arch)
    with coupled.active(arch):
        assert torch.equal(twin(images), coupled(images))


SOURCE = SupernetSource(
    "vit_tiny_patch16_224",
    {"num_classes": 5, "img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3},
    couple={"hidden": "heads"},
)


def test_a_folder_remembers_it_and_the_digest_tells(tmp_path):
    supernet = SOURCE.build()
    randomise(supernet.model)
    loaded = load_supernet(save_supernet(supernet, SOURCE, tmp_path))
    assert loaded.space == supernet.space
    assert SupernetSource.from_dict(json.loads(json.dumps(SOURCE.to_dict()))) == SOURCE
    fixed = SupernetSource.from_dict({**SOURCE.to_dict(), "couple": {}, "choices": {"hidden": None}}).build()
    assert fixed.space == supernet.space
    changes = [{"couple": {}}, {"couple": {"hidden": "depth"}}, {"choices": {"hidden": [0.25]}}]
    others = [SupernetSource.from_dict({**SOURCE.to_dict(), **change}).build() for change in changes]
    assert len({digest_supernet(one) for one in (supernet, fixed, *others)}) == 5
    described = json.loads((tmp_path / "supernet.json").read_text())
    assert load_supernet(tmp_path).space == supernet.space
    described["source"] |= {"couple": {}, "choices": {"hidden": None}}
    del described["source"]["layout"]  # as folders had it before the layout was saved
    (tmp_path / "supernet.json").write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="has other sizes than when it was saved"):
        load_supernet(tmp_path)


@pytest.mark.parametrize("name", ["mobilenet", "vit"])
def test_inspection_and_drawing_say_it(name):
    coupled, plain = pair(name)
    found = inspect(coupled)
    followers = {one: kind for kind in found.elastic if kind.follows for one in kind.names}
    led = {follower: leader.split(".")[0] for follower, leader in COUPLED[name][2].items()}
    assert {follower: kind.follows for follower, kind in followers.items()} == led
    archs = [spelled_out(name, arch) for arch in coupled.space.sample(0, 200)]
    for follower, kind in followers.items():
        assert set(kind.choices) >= {arch[follower] for arch in archs if follower in arch}
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(render(found))
    assert "following" in console.export_text()
    arch = coupled.space.sample(3)
    assert draw_subnet(coupled, arch) == draw_subnet(plain, spelled_out(name, arch))


# --- mistakes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("couple", "message"),
    [
        ({"mit": "depth"}, r"couple 'mit': no such dim; there are depth, head, kernel, mid, "),
        ({"squeeze": "depth"}, "couple 'squeeze': no such dim"),
        ({"mid.4.*": "depth"}, r"couple 'mid.4.\*': no such dim; there are mid.1.0, .*, mid.2.1$"),
        ({"mid": "deep"}, r"mid.1.0, .*mid.2.1 can't follow 'deep'; there are depth, head"),
        ({"mid": "squeeze"}, "can't follow 'squeeze'"),
        ({"stem": "depth"}, r"stem can't follow 'depth'; there are depth.1, depth.2. .*choices={'stem': None}"),
        ({"mid": "depth", "kernel": "mid"}, r"kernel.1.0 can't follow mid.1.0, which follows depth.1: a leader"),
        ({"stem": "head", "head": "stem"}, "head can't follow stem, which follows head: a leader"),
        ({"mid": "mid.1.0"}, "mid.1.0 can't follow mid.1.0, which follows mid.1.0"),
        ({"depth": "stem"}, "depth.1 can't follow stem: depth.1 says which blocks run"),
        ({"resolution": "stem"}, "resolution changes the input"),
        ({"stem": "resolution"}, "resolution changes the input"),
        ({"mid.2.0": "mid.1.2"}, "mid.2.0 can't follow mid.1.2, whose block isn't in every subnet that has mid.2.0"),
    ],
)
def test_what_cannot_be_coupled_is_refused(couple, message):
    with pytest.raises(LayoutError, match=message):
        mobilenet(couple=couple)


def test_what_is_refused_leaves_the_model_alone_and_the_cure_helps():
    case = CASES["convnext"]
    model = case.model()
    with pytest.raises(LayoutError, match=r"hidden.0.0, hidden.3.0 can't follow 'depth'.*'hidden.3.0': None\}"):
        elastic.elasticize(model, couple={"hidden": "depth"}, **case.options)
    assert not any("Elastic" in type(module).__name__ for module in model.modules())
    fixed = {"hidden.0.0": None, "hidden.3.0": None}
    made = elastic.elasticize(model, choices=fixed, couple={"hidden": "depth"}, **case.options)
    assert not any(name.startswith("hidden") for name in made.space.names)
