"""Models of one's own that take anything but one image: everything follows from one example of what goes in."""

import json

import pytest
import torch
from counting import macs_of, memory_of, params_of
from small import randomise
from torch import nn

import elastic
from elastic.errors import ExportError, RecipeError
from elastic.layout.saved import describe_recipe, read_recipe
from elastic.support.inputs import run_model


class Words(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.table, self.body, self.head = nn.Embedding(50, width), nn.Linear(width, 64), nn.Linear(64, 3)

    def forward(self, ids, mask=None):
        states = self.body(self.table(ids)).relu()
        return self.head((states if mask is None else states * mask[..., None]).mean(1))


class Two(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.colour, self.depth = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(1, width, 3, padding=1)
        self.head = nn.Linear(width, 4)

    def forward(self, colour, *, depth):
        return self.head((self.colour(colour) + self.depth(depth)).relu().mean((2, 3)))


class Both(Two):
    def forward(self, colour, depth):
        return super().forward(colour, depth=depth)


class Inside(Two):
    """Takes its images as one argument."""

    def forward(self, images, scale=1.0):
        colour, depth = images.values() if isinstance(images, dict) else images
        return super().forward(colour, depth=depth[0] * scale)


class Listed(Two):
    """Takes a list of single images, of any number."""

    def forward(self, images):
        return torch.cat([super(Listed, self).forward(one[None], depth=one[None, :1]) for one in images])


IDS = torch.randint(0, 50, (2, 7), generator=torch.Generator().manual_seed(0))
IMAGES = {"colour": torch.zeros(2, 3, 8, 12), "depth": torch.zeros(2, 1, 8, 12)}
CASES = {
    "token ids": (Words, IDS),
    "ids and a mask": (Words, {"ids": IDS, "mask": torch.ones(2, 7)}),
    "a tuple": (Both, tuple(IMAGES.values())),
    "names": (Two, IMAGES),
    "a list": (Inside, ([IMAGES["colour"], [IMAGES["depth"]]],)),
    "a dict in a dict": (Inside, {"images": {"one": IMAGES["colour"], "more": (IMAGES["depth"],)}}),
    "a vector": (lambda: nn.Sequential(nn.Linear(4, 32), nn.Linear(32, 3)), torch.zeros(2, 4)),
}


def made(name):
    build, example = CASES[name]
    return elastic.elasticize(randomise(build()).eval(), example=example)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_everything_follows_from_the_example(name):
    supernet = made(name)
    assert supernet.space.size > 1
    inputs = supernet.example_inputs(n=3, seed=0)
    for arch in (supernet.space.smallest, *supernet.space.sample(0, 2)):
        subnet = supernet.extract(arch)
        with supernet.active(arch):
            assert torch.equal(run_model(supernet, inputs), run_model(subnet, inputs))
        assert supernet.params(arch) == params_of(subnet)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_costs_are_counted_on_the_example(name):
    supernet = made(name)
    arch, one = supernet.space.smallest, supernet.example_inputs()
    subnet = supernet.extract(arch)
    assert supernet.macs(arch) == macs_of(subnet, one)
    assert supernet.memory(arch) == memory_of(subnet, one)


@pytest.mark.parametrize("name", CASES)
def test_the_description_is_saved(name):
    supernet = made(name)
    described = json.loads(json.dumps(describe_recipe(supernet.recipe)))
    recipe = read_recipe(described)
    assert recipe.inputs == supernet.recipe.inputs
    again = elastic.elasticize(randomise(CASES[name][0]()).eval(), recipe)
    inputs, arch = supernet.example_inputs(n=2, seed=1), supernet.space.smallest
    with torch.no_grad(), supernet.active(arch), again.active(arch):
        assert torch.equal(run_model(supernet, inputs), run_model(again, inputs))


@pytest.mark.parametrize("name", ["ids and a mask", "a tuple"])
def test_exports_take_the_inputs_by_name(name, tmp_path):
    pytest.importorskip("onnxscript")
    supernet = made(name)
    subnet = supernet.extract(supernet.space.smallest)
    formats = ["safetensors", "torch.export", "onnx"]
    inputs = supernet.example_inputs(n=2, seed=0)
    made_files = elastic.export(subnet, tmp_path / "out", formats=formats, example=inputs)
    assert made_files
    program = torch.export.load(next((tmp_path / "out").glob("*.pt2"))).module()
    with torch.no_grad():
        assert torch.allclose(program(*inputs.values())[0], subnet(**inputs), atol=1e-5)


def test_a_recipe_of_ones_own_takes_an_example():
    recipe = elastic.Recipe({"body": "hidden _", "head": "_ hidden"}, {"hidden": elastic.DimRule((0.5, 1.0))})
    supernet = elastic.elasticize(randomise(Words()).eval(), recipe, example=IDS)
    assert supernet.macs(supernet.space.smallest) == 7 * 32 * 32 + 32 * 3


@pytest.mark.parametrize(
    ("example", "said"),
    [
        ([torch.zeros(2, 3)], "wanted a tensor, a tuple of tensors or a dict of tensors by name .*, got a list of 1"),
        ({"ids": 3}, "wanted tensors only, got 3 as ids: leave out what has a default"),
        ({"ids": [IDS, "x"]}, r"wanted tensors only, got 'x' as ids\[1\]"),
        ({"ids": []}, "wanted tensors, got an empty list in ids"),
        ({"ids": {"a.b": IDS}}, r"wanted names without '.', '\[' and '\(' for inputs, got 'a.b'"),
        (torch.tensor(3.0), "wanted inputs with a batch axis"),
        ({"ids": IDS, "mask": torch.ones(1, 7)}, "the first axis of each input is the batch"),
        ((IDS, IDS, IDS), "3 inputs for a forward that names 2"),
        ({"idds": IDS}, "can't be run"),
    ],
)
def test_what_is_no_example_is_refused(example, said):
    with pytest.raises(RecipeError, match=said):
        elastic.elasticize(Words().eval(), example=example)


def test_a_list_of_single_inputs_is_refused_with_the_reason():
    single = torch.zeros(3, 8, 8)
    with pytest.raises(
        RecipeError, match=r"a batch of 2 like the example: .*the first axis of each tensor is the batch"
    ):
        elastic.elasticize(Listed().eval(), example={"images": [single, single]})
    with pytest.raises(RecipeError, match=r"needs a module around it that takes a batch, and unbinds it"):
        elastic.elasticize(Listed().eval(), example={"images": [single, torch.zeros(1, 8, 8)]})


class Unbound(nn.Module):
    """That module."""

    def __init__(self):
        super().__init__()
        self.model = Listed()

    def forward(self, images):
        return self.model(list(images.unbind()))


def test_a_module_around_one_that_takes_a_list_is_elastic():
    supernet = elastic.elasticize(randomise(Unbound()).eval(), example=torch.zeros(2, 3, 8, 8))
    subnet, images = supernet.extract(supernet.space.smallest).model, torch.rand(4, 3, 8, 8)
    assert subnet.head.in_features < 32
    with torch.no_grad(), supernet.active(supernet.space.smallest):
        assert torch.equal(supernet(images), subnet(list(images)))


def test_files_take_no_nested_inputs(tmp_path):
    supernet = made("a list")
    subnet, inputs = supernet.extract(supernet.space.smallest), supernet.example_inputs(n=2, seed=0)
    assert elastic.export(subnet, tmp_path / "weights", formats=["safetensors"], example=inputs)
    with pytest.raises(ExportError, match="images is a list of tensors, and files take tensors by name: export safe"):
        elastic.export(subnet, tmp_path / "program", formats=["torch.export"], example=inputs)


def test_a_shape_of_several_tensors_points_to_the_example():
    with pytest.raises(RecipeError, match="for several give example="):
        elastic.elasticize(Both().eval(), input_size=((3, 8, 8), (1, 8, 8)))
