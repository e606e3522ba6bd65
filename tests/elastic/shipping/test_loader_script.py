"""Exported folders load by their own `load.py`, or by `from_pretrained`, where this project is not installed."""

import json

import pytest
import timm
import torch
from elsewhere import loaded_elsewhere
from families import CASES, supernet
from safetensors.torch import load_file
from torch import nn

import elastic
from elastic.shipping.export import export


@torch.no_grad()
def test_subnets_of_timm_load_by_their_own_program(tmp_path):
    given, wanted = [], {}
    for name in ("resnet-d", "mobilenet-v3 with matrices", "convnext-v2", "vit", "regnet-y"):
        made, folder = supernet(name), tmp_path / name
        arch = made.space.smallest
        subnet, images = made.extract(arch), torch.randn(2, *made.input_shape(arch))
        built_with = {key: value for key, value in CASES[name].build.items() if key != "num_classes"}
        export(subnet, folder, ["safetensors"], images, source=_Source({**built_with, "num_classes": 5}))
        assert json.loads((folder / "config.json").read_text())["loader"] == ["load.py", "sizes.json"]
        given.append((folder, images))
        wanted[name] = subnet(images)
    for name, output in zip(wanted, loaded_elsewhere(*given), strict=True):
        assert torch.equal(output, wanted[name]), name


@pytest.mark.parametrize(
    ("architecture", "choices"),
    [
        ("vit_tiny_patch16_224", {"embed": [128], "heads": [2], "hidden": [512], "depth": [6]}),
        ("convnext_tiny", {"width": [0.5], "hidden": [0.5], "kernel": [5], "depth": [1]}),
        pytest.param(
            "swin_tiny_patch4_window7_224",
            {kind: [0.666] for kind in ("embed", "heads", "hidden")},
            marks=pytest.mark.sweep,
        ),
    ],
)
@torch.no_grad()
def test_uniform_subnets_are_what_timm_builds(architecture, choices, tmp_path):
    model = timm.create_model(architecture, num_classes=5).eval()
    made = elastic.elasticize(model, choices=choices)
    full = {"resolution": 224} if "resolution" in made.space.names else {}
    subnet = made.extract(made.space.variant(full, of=made.space.smallest))
    images = torch.randn(2, 3, 224, 224)
    export(subnet, tmp_path, ["safetensors"], images)
    sizes = json.loads((tmp_path / "sizes.json").read_text())
    assert not any(own.keys() - {"numbers"} for own in sizes["modules"].values())
    twin = timm.create_model(sizes["build"]["name"], **sizes["build"]["arguments"]).eval()
    twin.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(twin(images), subnet(images))
    card = (tmp_path / "README.md").read_text()
    assert 'timm.create_model("local-dir:.", pretrained=True)' in card
    assert "library_name: timm" in card
    assert torch.equal(timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()(images), subnet(images))


class _Source:
    """As much of a source as an export asks for."""

    def __init__(self, model_args):
        self.model_args = model_args

    def untrained(self):
        return self

    def to_dict(self):
        return {"model": "ours", "model_args": {}}


def test_no_library_loads_what_it_would_make_otherwise(tmp_path):
    """A number that was changed, and sizes that its arguments can't say."""
    model = timm.create_model("test_efficientnet", num_classes=2).eval()
    model.bn2.eps = 1.0
    export(model, tmp_path / "changed")
    made = supernet("mobilenet-v3")
    export(made.extract(made.space.smallest), tmp_path / "small")
    for folder in (tmp_path / "changed", tmp_path / "small"):
        assert json.loads((folder / "config.json").read_text())["native"] == ""
        assert "from load import load" in (folder / "README.md").read_text()
        assert "library_name" not in (folder / "README.md").read_text()


def test_what_no_library_builds_has_no_loader(tmp_path):
    export(nn.Linear(2, 2), tmp_path, example=torch.zeros(2, 2))
    assert not (tmp_path / "load.py").exists()


def test_what_was_changed_by_hand_has_no_loader(tmp_path):
    model = timm.create_model("test_efficientnet", num_classes=2).eval()
    model.classifier = nn.Sequential(model.classifier)
    export(model, tmp_path)
    assert not (tmp_path / "load.py").exists()
    model.classifier = model.classifier[0]
    model.bn2.eps = 1.0
    export(model, tmp_path)
    assert (tmp_path / "load.py").exists()
    assert json.loads((tmp_path / "sizes.json").read_text())["modules"]["bn2"] == {"numbers": {"eps": 1.0}}
