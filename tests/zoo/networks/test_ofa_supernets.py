"""Once-for-All's ProxylessNAS and ResNet50-D supernets: published sizes and encodings, and what always holds."""

import pytest
import torch
from published import images, imported
from torch.utils.flop_counter import FlopCounterMode

import elastic
import zoo
from elastic.errors import ArchError
from elastic.layout.sorting import is_sortable
from elastic.profiles.blocks import find_blocks

PROXYLESS, RESNET = "ofa_proxyless_d234_e346_k357_w1.3", "ofa_resnet50"
SIZES = {  # millions: parameters with the kernel matrices; MACs at 224, largest and smallest; then the exact count
    PROXYLESS: (7.957, 1005, 266, 9 * 7371**5),
    RESNET: (48.106, 7492, 962, 2 * 3 * 3 * (27 * 13) ** 3 * (243 * 13)),
}
names = pytest.mark.parametrize("name", SIZES)


@names
def test_sizes_are_the_published_ones(name):
    supernet = imported(name)
    space = supernet.space
    params, most, least, count = SIZES[name]
    assert round(sum(p.numel() for p in supernet.parameters()) / 1e6, 3) == params
    ends = [space.largest, space.variant({"resolution": 224}, of=space.smallest)]
    assert (supernet.macs(ends) / 1e6).round().astype(int).tolist() == [most, least]
    assert space.size == count


def test_resnets_count_is_the_published_one():
    assert f"{SIZES[RESNET][3]:.3g}" == "2.46e+12"
    assert f"{SIZES[PROXYLESS][3]:.3g}" == "1.96e+20"


@names
def test_all_published_resolutions_are_on_offer(name):
    assert zoo.create(name).space["resolution"].choices == tuple(range(128, 225, 4))


@names
@torch.no_grad()
def test_an_extracted_subnet_is_a_plain_model_of_its_own(name):
    supernet = imported(name)
    for arch in (supernet.space.smallest, *supernet.space.sample(5, 2)):
        x, subnet = images(arch["resolution"]), supernet.extract(arch)
        assert {type(module).__module__.split(".")[0] for module in subnet.modules()} <= {"timm", "torch"}
        with supernet.active(arch):
            active = supernet(x)
        with FlopCounterMode(display=False) as counter:
            assert torch.equal(active, subnet(x))
        assert counter.get_total_flops() == 2 * supernet.macs([arch])[0]
        assert subnet.pretrained_cfg["input_size"] == tuple(x.shape[1:])


@torch.no_grad()
def test_the_stems_middle_can_be_left_out():
    supernet = imported(RESNET)
    arch = supernet.space.variant({"depth.stem": 0, "resolution": 128})
    subnet = supernet.extract(arch)
    assert len(subnet.conv1[3]) == 0
    again = elastic.elasticize(subnet, resolutions=[128], choices={"width": None, "stem": None, "depth": None})
    assert again.params([again.space.largest])[0] == supernet.params([arch])[0]
    assert "depth.stem" not in again.space.names


@torch.no_grad()
def test_sorting_changes_nothing_but_the_order():
    supernet = zoo.create(RESNET, resolutions=[128, 224]).eval()
    wanted = supernet(images(128))
    sortable = [size for size in supernet.layout.sizes.values() if is_sortable(size, supernet.layout)]
    assert {"stem.0", "stem", "width.0", "mid.2.5"} <= {size.name for size in sortable}
    generator = torch.Generator().manual_seed(0)
    supernet.sort({size.name: torch.rand(size.full, generator=generator) for size in sortable})
    torch.testing.assert_close(supernet(images(128)), wanted, rtol=1e-4, atol=1e-4)


def test_costs_need_no_activation_and_blocks_have_forms():
    supernet = imported(RESNET)
    small, large = supernet.memory([supernet.space.smallest, supernet.space.largest])
    assert 0 < small < large
    narrow = supernet.space.narrow({"resolution": 128})
    found = {block.path: block for block in find_blocks(supernet, narrow)}
    assert found["conv1.3.0"].dims == ("ratio.stem",)
    assert len(set(found["conv1.3.0"].signatures)) == 2  # of three ratios two give 24 channels
    assert found["layer1.0"].dims == ("expand.0.0", "stem", "width.0")


@names
def test_the_published_encoding_goes_both_ways(name):
    supernet = imported(name)
    for arch in supernet.space.sample(0, 20):
        assert zoo.to_arch(supernet, zoo.from_arch(supernet, arch)) == arch


def test_proxyless_last_stage_has_one_block_whatever_is_said():
    supernet = imported(PROXYLESS)
    full = {"ks": [7] * 21, "e": [6] * 21}
    for depths in ([4] * 5, [4] * 5 + [1], [4] * 6):
        assert zoo.to_arch(supernet, {**full, "d": depths, "wid": None, "r": [224]}) == supernet.space.largest
    assert zoo.from_arch(supernet, supernet.space.largest)["d"] == [4, 4, 4, 4, 4, 1]


def test_resnets_encoding_counts_added_blocks_and_indexes_widths():
    supernet = imported(RESNET)
    published = {"d": [0, 1, 0, 2, 0], "e": [0.25] * 18, "w": [0, 1, 2, 0, 1, 2]}
    arch = zoo.to_arch(supernet, published)
    depths = [arch[f"depth.{place}"] for place in ("stem", 0, 1, 2, 3)]
    assert depths == [0, 3, 2, 6, 2]
    assert [arch[f"width.{stage}"] for stage in range(4)] == [256, 336, 816, 2048]
    assert arch["stem"] == 48
    assert zoo.to_arch(supernet, {"d": [2] * 5, "e": [0.35] * 18, "w": [2] * 6}) == supernet.space.largest
    smallest = supernet.space.variant({"resolution": 224}, of=supernet.space.smallest)
    assert zoo.to_arch(supernet, {"d": [0] * 5, "e": [0.2] * 18, "w": [0] * 6}) == smallest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": [2] * 5}, "'w' has 5 values; wanted 6, one for each of ratio.stem"),
        ({"d": [1] * 5}, r"d\[0\] = 1 isn't on offer; choose one of \[0, 2\]"),
        ({"w": [3] * 6}, r"w\[0\] = 3 isn't on offer; choose one of \[0, 1, 2\]"),
        ({"e": [0.3] * 18}, r"e\[0\] = 0\.3 isn't on offer"),
        ({"ks": [3] * 18}, "'ks' isn't part of this supernet's encoding; it has d, e, w and r"),
    ],
)
def test_an_encoding_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ArchError, match=message):
        zoo.to_arch(imported(RESNET), {"d": [2] * 5, "e": [0.35] * 18, "w": [2] * 6, **change})
