"""ProARD's supernets: stated sizes, encodings, and subnets that compute what a slow reference computes."""

from functools import cache

import pytest
import reference
import torch
from examples import mostly_swept, tenth
from published import error, images, write
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import ResNet
from torch.utils.flop_counter import FlopCounterMode

import zoo
from elastic.errors import ArchError, CheckpointError
from zoo.published.key_names import reference_keys
from zoo.published.load import load_reference

MBV3, MBV2, RESNET = reference.PROARD
RESNETS = 2 * 3 * 3 * (27 * 13) ** 3 * (243 * 13)
SIZES = {  # millions: parameters, largest with the kernel matrices, smallest; MACs, largest and smallest; exact count
    MBV3: (6.41, 2.14, 180, 35, 7371**5),
    MBV2: (3.85, 1.23, 188, 42, 9 * 7371**5),
    RESNET: (46.08, 5.22, 2358, 285, RESNETS),
}
CLASSES = {MBV3: MobileNetV3, MBV2: EfficientNet, RESNET: ResNet}
names = pytest.mark.parametrize("name", mostly_swept(reference.PROARD, [MBV3, RESNET]))


@cache
def drawn(name):
    return reference.draw(reference.supernet_shapes(name))


@cache
def imported(name):
    supernet = zoo.create(name)
    load_reference(supernet.model, drawn(name), name, elastic=True)
    return supernet.eval()


@names
def test_sizes_are_the_stated_ones(name):
    supernet = imported(name)
    ends = [supernet.space.largest, supernet.space.smallest]
    most, least, *macs, count = SIZES[name]
    assert round(sum(p.numel() for p in supernet.parameters()) / 1e6, 2) == most
    assert round(supernet.params(ends)[1] / 1e6, 2) == least
    assert (supernet.macs(ends) / 1e6).round().astype(int).tolist() == macs
    assert supernet.space.size == count
    assert supernet.input_shape(ends[0]) == (3, 32, 32)


@names
@torch.no_grad()
def test_subnets_compute_what_the_reference_computes(name):
    supernet = imported(name)
    assert len(drawn(name)) == reference.KEYS[name]
    archs = [supernet.space.smallest, supernet.space.largest, *supernet.space.sample(0, tenth())]
    params, macs = supernet.params(archs), supernet.macs(archs)
    x = images(32, 2)
    for arch, own_params, own_macs in zip(archs, params, macs, strict=True):
        encoded = zoo.from_arch(supernet, arch)
        state = reference.specialise(name, drawn(name), encoded)
        slow = reference.Network(reference.config_of(name, encoded), state)
        wanted = slow(x)
        subnet = supernet.extract(arch)
        with supernet.active(arch):
            assert error(supernet(x), wanted) < 1e-5
        with FlopCounterMode(display=False) as counter:
            assert error(subnet(x), wanted) < 1e-5
        assert own_params == reference.count_parameters(state)
        assert own_macs == slow.macs
        assert counter.get_total_flops() == 2 * len(x) * own_macs


@names
@torch.no_grad()
def test_each_choice_shows_in_the_logits(name):
    supernet, x = imported(name), images(32)
    wanted = supernet(x)
    for dim in supernet.space.dims[::4]:
        with supernet.active(supernet.space.variant({dim.name: dim.choices[0]})):
            assert error(supernet(x), wanted) > 1e-4


@names
def test_an_extracted_subnet_is_a_plain_timm_model_for_images_as_they_are(name):
    supernet = imported(name)
    subnet = supernet.extract(supernet.space.sample(1))
    assert type(subnet) is CLASSES[name]
    assert {type(module).__module__.split(".")[0] for module in subnet.modules()} <= {"timm", "torch"}
    config = subnet.pretrained_cfg
    assert (config["mean"], config["std"], config["crop_pct"]) == ((0.0,) * 3, (1.0,) * 3, 1.0)
    reductions = [feature["reduction"] for feature in subnet.feature_info]
    _, features = subnet.forward_intermediates(images(32))
    assert [32 // feature.shape[-1] for feature in features] == reductions


@names
def test_a_file_is_imported_strictly(tmp_path, name):
    made = zoo.import_checkpoint(name, write(tmp_path / "file", drawn(name), epoch=120))
    own, wanted = made.model.state_dict(), imported(name).model.state_dict()
    assert not made.training
    assert all(torch.equal(own[key], wanted[key]) for key in wanted)
    first = next(key for key in drawn(name) if ".conv2.conv.conv" in key or ".point_linear.conv.conv" in key)
    for state, message in (
        ({key: value for key, value in drawn(name).items() if key != first}, f"lacks {first} .1 missing"),
        (drawn(name) | {"blocks.3.extra": torch.zeros(1)}, r"has blocks\.3\.extra, .*1 unknown"),
        (drawn(name) | {first: torch.zeros(1)}, rf"{first} is \(1,\), wanted"),
    ):
        with pytest.raises(CheckpointError, match=message):
            zoo.import_checkpoint(name, write(tmp_path / "file", state))


def test_another_networks_file_is_refused(tmp_path):
    published = write(tmp_path / "file", reference.draw(reference.supernet_shapes(reference.RESNET)))
    with pytest.raises(CheckpointError, match=r"classifier\.linear\.linear\.weight is \(1000, 2048\), wanted \(10, "):
        zoo.import_checkpoint(RESNET, published)


def test_shortcuts_have_the_same_names_with_and_without_a_pooling():
    keys, pooled = (reference_keys(zoo.create(name).model, elastic=True) for name in (RESNET, reference.RESNET))
    assert list(keys) == list(pooled)
    assert keys["blocks.0.downsample.conv.conv.weight"] == "layer1.0.downsample.0.weight"
    assert pooled["blocks.0.downsample.conv.conv.weight"] == "layer1.0.downsample.1.weight"


@names
def test_the_encoding_goes_both_ways(name):
    supernet = imported(name)
    for arch in supernet.space.sample(0, 20):
        assert zoo.to_arch(supernet, zoo.from_arch(supernet, arch)) == arch
    assert zoo.to_arch(supernet, reference.largest(name)) == supernet.space.largest
    assert "r" not in zoo.from_arch(supernet, supernet.space.largest)


def test_encodings_are_read_as_written():
    arch = zoo.to_arch(imported(MBV3), {"ks": [7, 5, 3, 3] * 5, "e": [6, 4, 3, 3] * 5, "d": [2, 3, 4, 2, 3]})
    assert (arch["kernel.3.1"], arch["mid.3.1"], arch["depth.3"]) == (5, 320, 4)
    arch = zoo.to_arch(imported(RESNET), {"d": [0, 1, 0, 2, 0], "e": 0.25, "w": [0, 1, 2, 0, 1, 2]})
    assert [arch[f"depth.{place}"] for place in ("stem", 0, 1, 2, 3)] == [0, 3, 2, 6, 2]
    with pytest.raises(ArchError, match=r"'w' isn't part of this supernet's encoding; it has d, ks, e"):
        zoo.to_arch(imported(MBV2), {"ks": 3, "e": 3, "d": 2, "w": 1})


def test_other_classes_and_images():
    supernet = zoo.create(RESNET, num_classes=100, input_size=(1, 16, 16), resolutions=[8])
    assert supernet.space["resolution"].choices == (8, 16)
    assert supernet(torch.zeros(2, 1, 16, 16)).shape == (2, 100)
