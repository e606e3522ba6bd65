"""Once-for-All's MobileNetV3 supernets have the published sizes, and read and write the published encoding."""

import pytest
import torch

import zoo
from elastic.errors import ArchError, RecipeError

PUBLISHED = {  # millions: parameters with the kernel matrices; MACs at 224, largest and smallest
    "ofa_mbv3_d234_e346_k357_w1.0": (7.679, 566, 121),
    "ofa_mbv3_d234_e346_k357_w1.2": (10.716, 843, 193),
}


@pytest.fixture(scope="module")
def small():
    return zoo.create("ofa_mbv3_d234_e346_k357_w1.0", resolutions=[128, 224])


def test_the_zoo_lists_what_it_creates():
    assert set(PUBLISHED) < set(zoo.list())
    assert zoo.list() == sorted(zoo.list())


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name):
    supernet = zoo.create(name, resolutions=[224])
    space = supernet.space
    params, most, least = PUBLISHED[name]
    assert round(sum(p.numel() for p in supernet.parameters()) / 1e6, 3) == params
    assert (supernet.macs([space.largest, space.smallest]) / 1e6).astype(int).tolist() == [most, least]
    assert space.size == 7371**5


def test_all_published_resolutions_are_on_offer():
    space = zoo.create("ofa_mbv3_d234_e346_k357_w1.2").space
    assert space["resolution"].choices == tuple(range(128, 225, 4))
    assert space["mid.4.1"].choices == (408, 544, 816)  # of an input of 136 channels


def test_an_active_subnet_is_the_extracted_one(small):
    arch = small.space.sample(1)
    images = torch.rand(1, 3, arch["resolution"], arch["resolution"], generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), small.eval().active(arch):
        assert torch.equal(small(images), small.extract(arch)(images))


def test_the_published_encoding_goes_both_ways(small):
    for arch in small.space.sample(0, 20):
        assert zoo.to_arch(small, zoo.from_arch(small, arch)) == arch
    published = {"ks": [7, 5, 3, 3] * 5, "e": [6, 4, 3, 3] * 5, "d": [2, 3, 4, 2, 3], "r": 128}
    arch = zoo.to_arch(small, published)
    assert (arch["kernel.3.1"], arch["mid.3.1"], arch["depth.3"], arch["resolution"]) == (5, 320, 4, 128)
    assert "kernel.1.2" not in arch
    assert zoo.to_arch(small, {"ks": [7] * 20, "e": [6] * 20, "d": [4] * 5}) == small.space.largest
    assert zoo.to_arch(small, {"ks": 7, "e": 6, "d": 4}) == small.space.largest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ks": [7] * 19}, "'ks' has 19 values; wanted 20, one for each of kernel.1.0"),
        ({"e": [5] * 20}, r"e\[0\] = 5 isn't on offer; choose one of \[3, 4, 6\]"),
        ({"d": None}, "'d' has 0 values"),
        ({"ks": "7"}, "'ks' is '7'; wanted a list of numbers, or one number for all"),
        ({"r": 130}, "resolution = 130 isn't on offer"),
    ],
)
def test_an_encoding_that_does_not_fit_is_refused(small, change, message):
    published = {"ks": [7] * 20, "e": [6] * 20, "d": [4] * 5, "r": 224} | change
    published = {key: value for key, value in published.items() if value is not None}
    with pytest.raises(ArchError, match=message):
        zoo.to_arch(small, published)


def test_entries_of_skipped_blocks_are_ignored(small):
    published = {"ks": [7, 5, 0, 0] * 5, "e": [6, 4, -1, None] * 5, "d": [2] * 5}
    assert zoo.to_arch(small, published)["kernel.5.1"] == 5


def test_an_unknown_name_is_refused():
    with pytest.raises(RecipeError, match=r"the zoo has no supernet 'ofa'; did you mean .*ofa_mbv3"):
        zoo.create("ofa")
