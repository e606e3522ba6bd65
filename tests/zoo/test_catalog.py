"""Entries: cards that tell the truth, options that go through, pretrained weights, and every command by name."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import reference
import torch
from examples import mostly_swept
from published import drawn, write
from small import randomise

import elastic
import zoo
from elastic.errors import CheckpointError, RecipeError
from elastic.supernet.folder import load_supernet, save_supernet
from elastic.supernet.registry import register_supernets
from elastic.supernet.source import SupernetSource
from elastic.support.weights import save_weights
from zoo.catalog import find, source_of
from zoo.entry import Weights

SMALL = "ofa_mbv3_fashion_mnist"
OWN = (SMALL, "ofa_mbv3_cifar10", "dynabert_sst2", *reference.PROARD, "robust_wrn34", "robust_wrn_fashion_mnist")
COUNTED = (SMALL, "ofa_mbv3_cifar10", "dynabert_sst2", "robust_wrn_fashion_mnist", reference.MOBILE[0])
"""The sizes of the others are counted in sweeps."""
names = pytest.mark.parametrize("name", zoo.list())


@pytest.fixture
def given(monkeypatch, tmp_path):
    """Gives an entry other weights for a test."""
    monkeypatch.setenv("ELASTIC_CACHE", str(tmp_path / "cache"))
    changed = []

    def give(name, weights):
        changed.append(find(name))
        register_supernets({name: replace(find(name), weights=weights)})

    yield give
    register_supernets({entry.name: entry for entry in changed})


@pytest.mark.parametrize("name", mostly_swept(zoo.list(), COUNTED))
def test_the_counted_sizes_of_a_card_are_right(name):
    sides = None if name in OWN else [128, 224]
    supernet = zoo.create(name, **({} if sides is None else {"resolutions": sides}))
    ends, sizes = [supernet.space.smallest, supernet.space.largest], find(name).sizes
    assert tuple(supernet.params(ends)) == sizes.params
    assert tuple(supernet.macs(ends)) == sizes.macs
    assert supernet.space.size == sizes.subnets
    assert ("several resolutions" in zoo.card(name)) == ("resolution" in supernet.space.names)


@names
def test_a_card_says_license_paper_source_and_whose_results_they_are(name):
    text = zoo.card(name)
    entry = find(name)
    inputs = entry.vocabulary or ("over 0." if entry.images is None or any(entry.images.mean) else "as they are")
    for part in (name, entry.license, entry.paper, entry.source, *entry.configs, inputs):
        assert part in text
    assert all(one.origin.startswith(("published", "measured")) for one in entry.results)


@names
def test_a_supernet_is_trained_by_shipped_configurations(name):
    folder = files("trainers") / "configs"
    entry = find(name)
    assert entry.configs
    assert all((folder / f"{config}.yaml").is_file() for config in entry.configs)
    assert entry.training == "elastic fit --config " + " --config ".join(entry.configs)


def test_options_go_through():
    supernet = zoo.create("ofa_mbv3_d234_e346_k357_w1.0", num_classes=7, resolutions=[32, 48], input_size=(1, 48, 48))
    assert supernet.space["resolution"].choices == (32, 48)
    assert supernet(torch.zeros(1, 1, 48, 48)).shape == (1, 7)
    assert supernet.model.pretrained_cfg["input_size"] == (1, 48, 48)
    for name in (SMALL, "ofa_proxyless_d234_e346_k357_w1.3", "ofa_resnet50", "robust_wrn_fashion_mnist"):
        model = zoo.create(name, drop_rate=1.0, resolutions=[]).model
        assert torch.equal(
            model.forward_head(torch.rand(2, model.num_features, 2, 2)), model.get_classifier().bias.expand(2, -1)
        )
    assert zoo.create("ofa_resnet50", num_classes=3, input_size=(1, 160, 160)).space["resolution"].choices[-1] == 160
    with pytest.raises(RecipeError, match="ofa_resnet50 has no option 'width'; it has drop_rate, num_classes, resol"):
        zoo.create("ofa_resnet50", width=2)


def test_choices_and_couples_go_through_a_source():
    source = SupernetSource(SMALL, choices={"kernel": [5, 7]}, couple={"mid": "depth"}, options={"resolutions": [28]})
    space = source.build().space
    assert space["kernel.1.0"].choices == (5, 7)
    assert not any(name.startswith("mid") for name in space.names)
    with pytest.raises(RecipeError, match="has a recipe of its own; leave recipe out"):
        replace(source, recipe="efficientnet").build()


def test_the_model_of_a_named_supernet_is_its_largest_subnet():
    model = SupernetSource(SMALL).build_model()
    assert {type(module).__module__.split(".")[0] for module in model.modules()} <= {"timm", "torch"}


def test_a_saved_supernet_and_an_exported_subnet_are_made_again(tmp_path):
    source = source_of(SMALL, num_classes=4, resolutions=[20, 28])
    supernet = source.build().eval()
    randomise(supernet.model)
    again = load_supernet(save_supernet(supernet, source, tmp_path / "run"))
    arch, x = supernet.space.sample(1), torch.rand(2, 1, 28, 28)
    with torch.no_grad(), supernet.active(arch), again.active(arch):
        assert torch.equal(supernet(x), again(x))
    elastic.export(supernet.extract(arch), tmp_path / "subnet", arch=arch, source=source)
    subnet, config = elastic.load_subnet(tmp_path / "subnet")
    assert config["source"]["model"] == SMALL
    assert config["preprocessing"]["mean"] == [0.286]
    x = x[..., : arch["resolution"], : arch["resolution"]]
    with torch.no_grad():
        assert torch.equal(subnet(x), supernet.extract(arch)(x))


# --- pretrained weights -------------------------------------------------------------------------------------


def test_published_weights_are_downloaded_and_imported(given, tmp_path):
    name = reference.NAMES[0]
    file = write(tmp_path / "published", drawn(name))
    given(name, Weights(file.as_uri(), size=file.stat().st_size))
    supernet = zoo.load(name, resolutions=[128, 224])
    assert not supernet.training
    assert (tmp_path / "cache" / name).exists()
    file.unlink()  # the cache is enough
    few = zoo.load(name, num_classes=3, resolutions=[128])
    state, wanted = few.model.state_dict(), supernet.model.state_dict()
    assert [key for key in state if not torch.equal(state[key], wanted[key])] == [
        "classifier.weight",
        "classifier.bias",
    ]
    assert not SupernetSource(name, {"pretrained": True}).untrained().model_args
    with pytest.raises(CheckpointError, match=r"first_conv\.conv\.weight is \(16, 3, 3, 3\), wanted \(16, 1, 3, 3\)"):
        zoo.load(name, input_size=(1, 128, 128))


def test_weights_in_the_package_are_loaded_from_there(given, tmp_path, monkeypatch):
    supernet = zoo.create(SMALL)
    randomise(supernet.model)
    (tmp_path / "weights").mkdir()
    digest = save_weights(supernet.model, tmp_path / "weights" / "small.safetensors")
    monkeypatch.setattr("zoo.entry.files", lambda _: tmp_path)
    given(SMALL, Weights("small.safetensors", digest))
    loaded = zoo.load(SMALL).model.state_dict()
    assert all(torch.equal(tensor, loaded[key]) for key, tensor in supernet.model.state_dict().items())
    assert zoo.load(SMALL, num_classes=3).model.num_classes == 3
    given(SMALL, Weights("small.safetensors", "0" * 64))
    with pytest.raises(CheckpointError, match=r"small\.safetensors is missing or was altered; install the package"):
        zoo.load(SMALL)


def test_an_entry_without_weights_says_how_to_train_them(given):
    given(SMALL, None)
    assert zoo.load(SMALL, pretrained=False).training is False
    with pytest.raises(
        CheckpointError, match="no pretrained weights; train them with elastic fit --config ofa_fashion"
    ):
        zoo.load(SMALL)


def test_made_up_images_give_a_subnet_its_statistics():
    supernet, batches = zoo.load(SMALL), zoo.calibration(SMALL)
    assert sum(map(len, batches)) > 500
    assert batches[0].shape == (128, 1, 28, 28)
    assert abs(float(torch.cat(batches).mean())) < 0.1
    subnet = supernet.extract(supernet.space.largest)
    before = subnet(batches[0]).argmax(1)
    elastic.recalibrate(subnet, batches)
    after = subnet.eval()(batches[0]).softmax(1)
    assert after.max(1).values.mean() > 0.7  # it is sure of what it sees
    assert not torch.equal(before, after.argmax(1))
    assert zoo.calibration("ofa_resnet50") == []


def test_weights_that_come_with_the_package_are_small_and_load():
    for name in zoo.list():
        weights = find(name).weights
        if weights is not None and weights.shipped:
            assert not zoo.load(name).training
            assert (Path(zoo.__file__).parent / "weights" / weights.place).stat().st_size < 6e6
