"""WideResNets with stages of their own: the paper's networks among the subnets, and a slow forward pass."""

import pytest
import torch
from published import error, images
from small import randomise
from timm.models.resnetv2 import ResNetV2
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import zoo
from elastic.errors import ArchError, RecipeError

NETWORKS = {  # channels of three stages, and millions of parameters
    "WRN-34-10": ((160, 320, 640), 46.16),
    "WRN-34-R": ((320, 640, 512), 68.12),
}


@pytest.fixture(scope="module")
def small():
    supernet = zoo.create("robust_wrn_fashion_mnist")
    randomise(supernet.model)
    return supernet.eval()


def chosen(supernet, widths):
    return supernet.space.variant({f"width.{stage}": width for stage, width in enumerate(widths)})


@pytest.mark.parametrize("name", NETWORKS)
def test_the_papers_networks_are_subnets(name):
    widths, params = NETWORKS[name]
    supernet = zoo.create("robust_wrn34")
    subnet = supernet.extract(chosen(supernet, widths))
    assert round(sum(p.numel() for p in subnet.parameters()) / 1e6, 2) == params
    assert [stage.blocks[-1].conv2.out_channels for stage in subnet.stages] == list(widths)
    assert [len(stage.blocks) for stage in subnet.stages] == [5, 5, 5]


class Cut:
    """A norm's first channels."""

    def __init__(self, layer, channels):
        state = layer.state_dict()
        for name in ("running_mean", "running_var", "weight", "bias"):
            setattr(self, name, state[name][:channels])


def norm(x, layer):
    """BatchNorm with its running statistics, and ReLU."""
    mean, variance, weight, bias = (
        tensor.view(-1, 1, 1) for tensor in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return ((x - mean) / (variance + 1e-5).sqrt() * weight + bias).clamp(min=0)


def forward(full, x, widths, depths):
    """Logits of a subnet, its tensors cut out of the full model's one by one, as the papers describe it."""
    x = F.conv2d(x, full.stem.conv.weight, stride=4, padding=3)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for index, block in enumerate(full.stages[stage].blocks[:depth]):
            before, stride = x.shape[1], 2 if stage > 0 and index == 0 else 1
            y = norm(x, Cut(block.norm1, before))
            if index == 0:
                x = F.conv2d(y, block.downsample.conv.weight[:width, :before], stride=stride)
            y = F.conv2d(y, block.conv1.weight[:width, :before], stride=stride, padding=1)
            y = norm(y, Cut(block.norm2, width))
            x = x + F.conv2d(y, block.conv2.weight[:width, :width], padding=1)
    x = norm(x, Cut(full.norm, width)).mean((2, 3))
    return x @ full.head.fc.weight[:, :width, 0, 0].T + full.head.fc.bias


@torch.no_grad()
def test_subnets_compute_what_the_papers_describe(small):
    full, x = small.extract(small.space.largest), images(28, 2)[:, :1]
    space = small.space
    for arch in (space.smallest, space.largest, *space.sample(0, 10)):
        widths, depths = ([arch[f"{kind}.{stage}"] for stage in range(3)] for kind in ("width", "depth"))
        wanted = forward(full, x, widths, depths)
        with small.active(arch):
            assert error(small(x), wanted) < 1e-5
        subnet = small.extract(arch)
        with FlopCounterMode(display=False) as counter:
            assert error(subnet(x), wanted) < 1e-5
        assert counter.get_total_flops() == 2 * len(x) * small.macs([arch])[0]
        assert sum(p.numel() for p in subnet.parameters()) == small.params([arch])[0]
        assert type(subnet) is ResNetV2


def test_only_widths_and_depths_of_stages_are_elastic(small):
    assert set(small.space.names) == {f"{kind}.{stage}" for kind in ("width", "depth") for stage in range(3)}
    assert zoo.create("robust_wrn34").space["width.2"].choices == (160, 320, 512, 640)
    assert zoo.create("robust_wrn34").space["depth.2"].choices == (2, 3, 4, 5)


def test_other_widths_depths_and_images():
    supernet = zoo.create("robust_wrn34", widths=[24, 48], depth=3, input_size=(1, 16, 16), num_classes=3)
    assert supernet.space["depth.1"].choices == (1, 2, 3)
    assert supernet(torch.zeros(2, 1, 16, 16)).shape == (2, 3)
    with pytest.raises(RecipeError, match="stem and first stage both have 16 channels and would be one width"):
        zoo.create("robust_wrn34", widths=[16, 32], stem=16)


def test_features_say_how_much_smaller_they_are():
    supernet = zoo.create("robust_wrn34", widths=[8, 24, 32], depth=1)
    subnet = supernet.extract(supernet.space.smallest)
    _, features = subnet.forward_intermediates(images(32))
    assert [32 // feature.shape[-1] for feature in features] == [info["reduction"] for info in subnet.feature_info]


def test_there_is_no_published_encoding(small):
    for convert in (zoo.to_arch, zoo.from_arch):
        with pytest.raises(ArchError, match=r"no published encoding; an arch says it all, by its dims: depth\.0, "):
            convert(small, dict(small.space.largest))
