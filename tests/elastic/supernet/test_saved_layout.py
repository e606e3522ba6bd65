"""A supernet that was saved is the same when it is loaded, and neither its recipe nor discovery has run again."""

import json
from dataclasses import replace

import families
import pytest
import text_families
import torch
from examples import mostly_swept

import elastic
from elastic.discovery import discovered
from elastic.errors import CheckpointError, RecipeError
from elastic.layout.recipe import Recipe, registry
from elastic.layout.saved import describe_recipe, read_recipe
from elastic.space.sizes import DimRule
from elastic.supernet.folder import digest_supernet, load_supernet, read_description, save_supernet
from elastic.supernet.source import SupernetSource
from elastic.support.files import write_json
from elastic.upstream.versions import library_versions

RESNET = {"num_classes": 5, "channels": [8, 16, 16, 24], "layers": [2, 1, 2, 1]}
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 61, "n_positions": 32, "pad_token_id": 0}
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 5}
SOURCES = {
    "resnet": SupernetSource("resnet18", RESNET, input_size=[1, 32, 32]),
    "coupled and scaled": SupernetSource(
        "vit_tiny_patch16_224", VIT, choices={"heads": [1, 3], "depth": [1, 3]}, couple={"heads": "depth"},
        width_scaling=True, options={"resolutions": [16, 32]},
    ),
    "discovered": SupernetSource("resnet18", RESNET, "traced", input_size=[1, 32, 32]),
    "discovered text": SupernetSource("transformers:gpt2", GPT2, options={"length": 9}),
    "kernel matrices": SupernetSource(
        "mobilenetv3_small_050", {"num_classes": 5}, input_size=[3, 32, 32], options={"kernel_transforms": True}
    ),
    "named": SupernetSource("ofa_mbv3_fashion_mnist", choices={"kernel": [3, 7]}),
}  # fmt: skip


def through_json(recipe):
    return read_recipe(json.loads(json.dumps(describe_recipe(recipe))))


def assert_same(one, other, inputs):
    assert other.space.dims == one.space.dims
    assert digest_supernet(other) == digest_supernet(one)
    other.load_state_dict(one.state_dict())
    for arch in (one.space.smallest, one.space.sample(3), one.space.largest):
        with torch.no_grad(), one.active(arch), other.active(arch):
            outputs = [run(net, inputs) for net in (one.eval(), other.eval())]
        assert torch.equal(*outputs)


def run(supernet, inputs):
    given = supernet(**inputs) if isinstance(inputs, dict) else supernet(inputs)
    return given if isinstance(given, torch.Tensor) else given[0]


@pytest.mark.parametrize("name", mostly_swept(families.CASES, families.COUNTED))
def test_a_layout_read_from_json_makes_the_same_supernet(name):
    case, supernet = families.CASES[name], families.supernet(name)
    assert_same(supernet, elastic.elasticize(case.model(), through_json(supernet.recipe)), case.images())


@pytest.mark.parametrize("name", text_families.CASES)
def test_a_layout_of_text_read_from_json_makes_the_same_supernet(name):
    case, supernet = text_families.CASES[name], text_families.supernet(name)
    again = elastic.elasticize(case.model(), through_json(supernet.recipe))
    assert_same(supernet, again, text_families.inputs())
    arch = supernet.space.smallest
    assert again.extract(arch).config.to_dict() == supernet.extract(arch).config.to_dict()


@pytest.mark.parametrize("name", SOURCES)
def test_loading_runs_neither_recipe_nor_discovery(name, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("a recipe ran, or discovery")

    source = SOURCES[name]
    supernet = source.build().eval()
    save_supernet(supernet, source, tmp_path)
    if source.model != "ofa_mbv3_fashion_mnist":  # whose package makes both at once
        monkeypatch.setattr(registry, "_by_name", dict.fromkeys(registry.names(), never))
        monkeypatch.setattr(discovered, "watch", never)
    loaded = load_supernet(tmp_path)
    assert_same(supernet, loaded, supernet.example_inputs(n=2, seed=0))
    arch = supernet.space.sample(5)
    assert list(loaded.macs([arch])) == list(supernet.macs([arch]))
    assert list(loaded.memory([arch])) == list(supernet.memory([arch]))
    assert loaded.recipe.name == supernet.recipe.name
    assert dict(loaded.recipe.notes) == dict(supernet.recipe.notes)


def test_a_recipe_that_offers_something_else_by_now_changes_nothing_that_was_saved(tmp_path, monkeypatch):
    source = SOURCES["resnet"]
    supernet = source.build()
    save_supernet(supernet, source, tmp_path)
    former = registry.by_name("resnet")

    def newer(model, **options):
        return former(model, **options).with_choices({"mid": [0.1, 0.9]})

    monkeypatch.setitem(registry._by_name, "resnet", newer)
    assert source.build().space.dims != supernet.space.dims
    assert load_supernet(tmp_path).space.dims == supernet.space.dims


def test_a_folder_of_a_former_version_is_built_by_its_recipe(tmp_path):
    source = SOURCES["resnet"]
    supernet = source.build()
    save_supernet(supernet, source, tmp_path)
    described = read_description(tmp_path)
    del described["source"]["layout"], described["versions"], described["batchnorm"]
    write_json(tmp_path / "supernet.json", described)
    assert load_supernet(tmp_path).space.dims == supernet.space.dims


def test_what_a_layout_once_said_of_costs_is_passed_over():
    recipe = Recipe({"weight": "out _"}, {"out": DimRule()})
    former = {"lengths": {"0": "out"}, "products": {"0": [["out"]]}}
    assert read_recipe({**describe_recipe(recipe), **former}) == recipe


def test_the_versions_that_it_was_made_with_are_said_where_it_does_not_fit(tmp_path):
    source = SOURCES["resnet"]
    save_supernet(source.build(), source, tmp_path)
    described = read_description(tmp_path)
    assert described["versions"] == library_versions()
    assert {"torch", "timm", "transformers"} <= described["versions"].keys()
    described["versions"]["timm"] = "0.1"
    described["source"]["layout"]["layout"]["a_newer_part"] = "mid.0.0"
    write_json(tmp_path / "supernet.json", described)
    with pytest.raises(CheckpointError, match=r"no module, tensor or number .*saved with timm 0\.1 \(here .*install"):
        load_supernet(tmp_path)


class OwnTransform:
    """Not registered."""

    def __call__(self, tensor, module):
        return tensor

    def setup(self, module):
        pass

    def parameter_names(self):
        return ()


def test_code_that_is_not_registered_is_not_saved():
    recipe = Recipe({"weight": "out _"}, {"out": DimRule()}, transforms={"weight": OwnTransform()})
    assert describe_recipe(recipe) is None
    assert describe_recipe(replace(recipe, transforms={}, settle=lambda model: None)) is None


def test_a_recipe_of_ones_own_is_saved_too():
    recipe = Recipe({"weight": "out _", "bias": "out"}, {"out": DimRule((2, 4))}, input_size=(3,))
    supernet = elastic.elasticize(torch.nn.Linear(3, 4), recipe)
    assert_same(supernet, elastic.elasticize(torch.nn.Linear(3, 4), through_json(recipe)), torch.randn(2, 3))
    assert through_json(recipe) == recipe


@pytest.mark.parametrize(
    "change",
    [
        {"layout": 3},
        {"layout": {"weight": ["out", "_"]}},
        {"dims": {"out": {"choices": ["os.system"]}}},
        {"dims": {"out": {"dish": 1}}},
        {"derived": {"a": {"parts": ["out"], "ratio": "1/0"}}},
        {"transforms": {"weight": {"name": "os.system"}}},
        {"transforms": {"weight": {"name": "kernel_transform", "command": "rm"}}},
        {"settle": "rm"},
        {"dish": 1},
    ],
)
def test_something_else_than_a_layout_is_refused(change):
    described = describe_recipe(Recipe({"weight": "out _"}, {"out": DimRule()}))
    with pytest.raises(CheckpointError, match="the layout of the saved supernet can't be read"):
        read_recipe({**described, **change})


def test_a_source_with_a_broken_layout_is_refused():
    with pytest.raises(CheckpointError, match="can't be read"):
        replace(SOURCES["resnet"], layout={"layout": {}}).build()
    with pytest.raises(RecipeError):
        SupernetSource("resnet18", recipe="none of this name").build()
