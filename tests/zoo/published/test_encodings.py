"""Published encodings where a space isn't the published one: still what the blocks have, or refused."""

import pytest
import reference
import timm

import elastic
import zoo
from elastic.errors import ArchError
from elastic.supernet.source import SupernetSource

MOBILE, _, RESNET = reference.PROARD


def cifar(name=MOBILE, **changes):
    return SupernetSource(name, **changes).build()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (MOBILE, {"choices": {"mid": [0.5, 1.0]}}),
        (MOBILE, {"choices": {"kernel.1.*": None, "depth.3": None}}),
        (MOBILE, {"choices": {"depth": None, "kernel": None, "mid": None}}),
        (MOBILE, {"couple": {"mid": "depth"}}),
        (MOBILE, {"couple": {"kernel": "mid"}}),
        (RESNET, {"choices": {"width": [0.65, 1.0], "expand": [0.2, 0.35]}}),
        (RESNET, {"choices": {"depth.0": [2], "depth.stem": None}}),
    ],
)
def test_an_encoding_describes_the_extracted_subnet(name, changes):
    supernet = cifar(name, **changes)
    for arch in (supernet.space.smallest, supernet.space.largest, *supernet.space.sample(0, 3)):
        published = zoo.from_arch(supernet, arch)
        assert zoo.to_arch(supernet, published) == arch
        wanted = reference.shapes_of(reference.config_of(name, published)).values()
        assert sorted(wanted) == sorted(tuple(one.shape) for one in supernet.extract(arch).state_dict().values())


@pytest.mark.parametrize(
    ("changes", "published", "message"),
    [
        ({"choices": {"mid": [0.5, 1.0]}}, {"e": 4}, r"e\[0\] = 4 isn't on offer; choose one of \[3, 6\]"),
        ({"choices": {"mid": [0.75]}}, {"e": 4.5}, r"e\[0\] = 4\.5 isn't on offer; choose one of \[6\]"),
        ({"choices": {"mid.3.0": None}}, {"e": 4}, r"e\[8\] = 4 isn't on offer; choose one of \[6\]"),
        ({"choices": {"depth": None}}, {"d": 2}, r"d\[0\] = 2 isn't on offer; choose one of \[4\]"),
        ({"choices": {"depth.1": None}}, {"d": [4] * 4}, "'d' has 4 values; wanted 5, one for each of depth.1"),
        ({"choices": {"kernel.2.*": None}}, {"ks": 5}, r"ks\[4\] = 5 isn't on offer; choose one of \[7\]"),
        ({"couple": {"mid": "depth"}}, {"e": 6, "d": 3}, r"e\[0\] = 6 isn't on offer; choose one of \[4\]"),
    ],
)
def test_what_a_space_does_not_have_is_refused(changes, published, message):
    with pytest.raises(ArchError, match=message):
        zoo.to_arch(cifar(**changes), {"ks": 7, "e": 6, "d": 4, **published})


@pytest.mark.parametrize(
    ("name", "choices", "message"),
    [
        (MOBILE, {"mid": [0.75]}, r"mid\.1\.0 = 72 was never published .*; wanted one of \[48, 64, 96\], or the arch"),
        (MOBILE, {"depth": [1]}, r"depth\.1 = 1 was never published"),
        (RESNET, {"expand": [0.3, 0.35]}, r"expand\.0\.0 = 0\.3 was never published"),
    ],
)
def test_what_was_never_published_has_no_encoding(name, choices, message):
    supernet = cifar(name, choices=choices)
    with pytest.raises(ArchError, match=message):
        zoo.from_arch(supernet, supernet.space.smallest)


@pytest.mark.parametrize("choices", [None, {"stem": None, "width": None, "head": None}])
def test_an_ordinary_model_has_no_encoding(choices):
    supernet = elastic.elasticize(timm.create_model("mobilenetv3_large_100"), choices=choices)
    for convert in (zoo.to_arch, zoo.from_arch):
        with pytest.raises(ArchError, match="no published encoding; an arch says it all"):
            convert(supernet, dict(supernet.space.largest))


def test_neither_has_a_space_with_more_than_was_published():
    supernet = cifar(choices={"width": [0.5, 1.0]})
    with pytest.raises(ArchError, match="no published encoding"):
        zoo.from_arch(supernet, supernet.space.largest)


def test_the_only_resolution_is_checked_too():
    supernet = cifar()
    assert "resolution" not in supernet.space.names
    for side in (32, [32]):
        assert zoo.to_arch(supernet, {"ks": 7, "e": 6, "d": 4, "r": side}) == supernet.space.largest
    for side in (999, "x", [32, 24]):
        with pytest.raises(ArchError, match=r"r = .*, but this supernet has one resolution, 32; leave r out"):
            zoo.to_arch(supernet, {"ks": 7, "e": 6, "d": 4, "r": side})
