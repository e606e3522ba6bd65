"""Models that normalise their inputs themselves: what they compute, cut out, exported and loaded again."""

import importlib.util
import sys

import pytest
import torch
from examples import mostly_swept

import elastic
from elastic.errors import RecipeError
from elastic.formats.compare import TOLERANCE
from elastic.supernet.source import SupernetSource
from elastic.upstream.input_normalization import normalization_of

GIVEN = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
MODELS = {
    "resnet18": {"channels": [8, 16, 16, 24], "layers": [1, 2, 1, 1]},
    "vit_tiny_patch16_224": {"img_size": 32, "embed_dim": 32, "depth": 2, "num_heads": 2},
    "mobilenetv3_small_050": {},
}


def sources(name):
    args = {"num_classes": 7, **MODELS[name]}
    sizes = {"input_size": [3, 32, 32], "options": {"resolutions": [32]}}
    return SupernetSource(name, args, **sizes, normalize=GIVEN), SupernetSource(name, args, **sizes)


def built(source):
    torch.manual_seed(0)
    return source.build().eval()


@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_model_behind_a_normalisation(name, tmp_path):
    source, plain_source = sources(name)
    supernet, plain = built(source), built(plain_source)
    images = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(GIVEN[key]).view(3, 1, 1) for key in ("mean", "std"))
    assert list(supernet.state_dict()) == list(plain.state_dict())
    for arch in (supernet.space.largest, supernet.space.smallest, *supernet.space.sample(0, 2)):
        subnet = supernet.extract(arch)
        with torch.no_grad(), supernet.active(arch), plain.active(arch):
            torch.testing.assert_close(supernet(images), plain((images - mean) / std))
            assert torch.equal(supernet(images), subnet(images))
        assert supernet.macs([arch]) == plain.macs([arch])
        assert normalization_of(subnet)["mean"] == GIVEN["mean"]
    elastic.export(subnet, tmp_path, ["safetensors"], arch=arch, source=source)
    again, _ = elastic.load_subnet(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(images), subnet(images))
    spec = importlib.util.spec_from_file_location("loader_of_a_subnet", tmp_path / "load.py")
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)
    with torch.no_grad():
        assert torch.equal(loader.load(tmp_path)(images), subnet(images))
    sys.modules.pop("loader_of_a_subnet", None)


@pytest.mark.parametrize("name", mostly_swept(MODELS, ["resnet18"]))
def test_its_onnx_file_computes_the_same(name, tmp_path):
    supernet = built(sources(name)[0])
    written = elastic.export(supernet.extract(supernet.space.smallest), tmp_path, ["onnx"])
    assert written.files["model.onnx"]["difference"]["relative"] <= TOLERANCE


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mean": [0.5], "std": [0.5]}, "3 numbers each"),
        ({"mean": [0.5] * 3}, "wanted mean and std"),
        ({"mean": [0.5] * 3, "std": [0.5, 0.0, 0.5]}, "above 0"),
    ],
)
def test_a_bad_normalisation_is_refused(given, words):
    with pytest.raises(RecipeError, match=words):
        SupernetSource("resnet18", {"channels": [8, 16, 16, 24]}, normalize=given).build()


def test_a_first_layer_that_pads_for_itself_is_refused():
    with pytest.raises(RecipeError, match="leave normalize out"):
        SupernetSource("tf_mobilenetv3_small_075", normalize=GIVEN).build()


def test_a_network_without_a_convolution_is_refused():
    from elastic.upstream.input_normalization import normalize_inputs

    with pytest.raises(RecipeError, match="it has no convolution"):
        normalize_inputs(torch.nn.Linear(3, 2), GIVEN)
