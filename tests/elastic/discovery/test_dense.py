"""Dense prediction: segmenters as a whole, detectors by their backbone."""

import pytest
import torch
from small import randomise
from torchvision.models import resnet18
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.segmentation.fcn import FCN, FCNHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

import elastic
from elastic.costs.counting import MacsCounter
from elastic.errors import RecipeError
from elastic.testing import maskable, masked

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def check(supernet, arch):
    """Active, extracted and masked subnets agree, MACs and parameters with formulas; gives the extracted one."""
    subnet = supernet.extract(arch)
    with torch.no_grad():
        with supernet.active(arch):
            active = supernet(IMAGES)
        found = subnet(IMAGES)
        assert active.keys() == found.keys()
        assert all(torch.equal(active[name], found[name]) for name in found)
        kept = maskable(supernet, arch)
        with supernet.active(kept):
            active = supernet(IMAGES)
        for name, wanted in masked(supernet, kept)(IMAGES).items():
            torch.testing.assert_close(active[name], wanted, rtol=0, atol=1e-5 * wanted.abs().max().item())
        with MacsCounter() as counter:
            subnet(IMAGES[:1])
    assert counter.macs == supernet.macs(arch)
    assert sum(one.numel() for one in subnet.parameters()) == supernet.params(arch)
    return subnet


def test_a_segmenter_is_elastic():
    backbone = IntermediateLayerGetter(resnet18(), {"layer4": "out"})  # as torchvision puts FCN-ResNet-50 together
    supernet = elastic.elasticize(randomise(FCN(backbone, FCNHead(512, 5))), example=IMAGES)
    assert {dim.kind for dim in supernet.space.dims} == {"hidden", "width", "depth"}
    check(supernet, supernet.space.sample(seed=0))


def test_the_backbone_of_a_detector_is_elastic_and_an_extracted_one_is_put_back():
    levels = {"returned_layers": [2, 3, 4], "extra_blocks": LastLevelP6P7(256, 256)}
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5, **levels)
    detector = randomise(RetinaNet(backbone, num_classes=5, min_size=48, max_size=64))
    images = [IMAGES[0], IMAGES[1, :, :48]]
    with pytest.raises(RecipeError, match=r"got a list of 2; .*elasticize\(detector.backbone, example=a tensor of"):
        elastic.elasticize(detector, example=images)
    supernet = elastic.elasticize(detector.backbone, example=IMAGES)
    arch = supernet.space.sample(seed=0)
    with torch.no_grad(), supernet.active(arch):
        active = detector(images)
    detector.backbone = check(supernet, arch)
    with torch.no_grad():
        found = detector(images)
    for one, other in zip(active, found, strict=True):
        assert len(one["boxes"])
        assert all(torch.equal(one[name], other[name]) for name in one)
