"""Passes in which alike blocks are repeated, against passes in which every block runs."""

from dataclasses import replace

import pytest
import timm
from counting import macs_of, memory_of
from small import randomise
from text_families import DECODERS, ENCODERS
from torch import nn

import elastic
from elastic import DimRule, Recipe
from elastic.costs.probing import Probes
from elastic.costs.tracing import Subject


def resnet():
    return elastic.elasticize(
        timm.models.resnet.ResNet(timm.models.resnet.BasicBlock, (1, 7, 1, 1), channels=(8, 8, 8, 8), num_classes=3),
        input_size=(3, 32, 32),
        resolutions=(16, 24, 32),
    )


def vit():
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, embed_dim=24, num_heads=3, depth=7, num_classes=3)
    return elastic.elasticize(model, choices={"heads": (1, 3)})


def _deep(case):
    return replace(case, config=case.config | {"num_hidden_layers": 7}).supernet


CASES = {
    "resnet": resnet,
    "vit": vit,
    "qwen3 with a cache": _deep(DECODERS["qwen3 with tied head"]),
    "bert": _deep(ENCODERS["bert"]),
}


def _probes(supernet):
    return [Probes(Subject(supernet.model, supernet.layout, supernet.recipe)) for _ in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_a_repeated_pass_is_the_whole_pass(name):
    supernet = CASES[name]()
    repeating, running = _probes(supernet)
    running._runs = []
    assert repeating._runs
    last = len(repeating.resolutions) - 1
    for ones in repeating.cases():
        for sizes in (repeating.coded_values(0, ones), repeating.smallest_values(last, ones)):
            assert repeating.trace(sizes) == running.trace(sizes)


class Block(nn.Module):
    """Adds to its input."""

    def __init__(self, place):
        super().__init__()
        self.place = place
        self.up, self.down = nn.Linear(6, 8), nn.Linear(8, 6)

    def forward(self, x):
        return x + self.down(self.up(x).relu())


class Longer(Block):
    """Has one more operator."""

    def forward(self, x):
        return x + self.down(self.up(x).relu().exp())


class Stack(nn.Module):
    """Blocks one after another, of which each is like the others."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(map(Block, range(7)))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Keeping(Stack):
    """Keeps what its fourth block gives."""

    def forward(self, x):
        kept = x
        for at, block in enumerate(self.blocks):
            x = block(x)
            kept = x if at == 3 else kept
        return x + kept


class Caring(Stack):
    """Its last block is of another class."""

    def __init__(self):
        super().__init__()
        self.blocks[6] = Longer(6)


class Wider(Stack):
    """Its last block has other choices."""

    def __init__(self):
        super().__init__()
        self.blocks[6].up, self.blocks[6].down = nn.Linear(6, 16), nn.Linear(16, 6)


RECIPE = Recipe(
    {"blocks.{i}.up": "hidden.{i} _", "blocks.{i}.down": "_ hidden.{i}", "blocks": "depth"},
    {"hidden": DimRule((0.5,)), "depth": DimRule((0.5,))},
    input_size=(4, 6),
)


@pytest.mark.parametrize(("model", "repeated"), [(Stack, [7]), (Keeping, []), (Caring, [6]), (Wider, [6])])
def test_only_alike_blocks_are_repeated(model, repeated):
    supernet = elastic.elasticize(randomise(model()), RECIPE)
    probes, running = _probes(supernet)
    running._runs = []
    assert [len(run.paths) for run in probes._runs] == repeated
    assert probes.trace(probes.coded_values(0)) == running.trace(probes.coded_values(0))
    for arch in (supernet.space.largest, *supernet.space.sample(0, 5)):
        if model is not Keeping:
            subnet, x = supernet.extract(arch), supernet.example_inputs(arch, seed=0)
            assert supernet.macs(arch) == macs_of(subnet, x)
            assert supernet.memory(arch) == memory_of(subnet, x)
