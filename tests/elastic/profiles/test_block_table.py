"""Tables of blocks: sums of what was measured, corrected by whole subnets, and Once-for-All's own files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small import mobilenet

import zoo
from elastic.errors import ProfileError
from elastic.profiles.block_table import LatencyTable
from elastic.profiles.blocks import distinct_variants, find_blocks
from elastic.profiles.profile import DeviceProfile
from elastic.profiles.published_names import mobilenetv3_signature, naming, proxyless_signature
from elastic.space.tables import tables_of
from elastic.supernet.folder import digest_supernet
from elastic.timing.records import BlockTiming, SubnetTiming
from elastic.timing.setting import Setting
from zoo.published import latency_tables as ofa_tables
from zoo.published.latency_tables import load_ofa_table


@pytest.fixture(scope="module")
def supernet():
    return mobilenet()


@pytest.fixture(scope="module")
def found(supernet):
    return find_blocks(supernet)


def drawn_times(signatures, seed=0):
    """Milliseconds, drawn."""
    return dict(zip(signatures, np.random.default_rng(seed).random(len(signatures)) + 0.1, strict=True))


def slow_sum(found, milliseconds, arch, space):
    """What a loop over an arch's blocks adds up to."""
    total = 0.0
    for block in found:
        if not all(gate.passes(arch.get(gate.depth, gate.full)) for gate in block.gates):
            continue
        at = [space[name].choices.index(arch[name]) for name in block.dims]
        index = int(np.ravel_multi_index(at, [len(space[name].choices) for name in block.dims])) if at else 0
        total += milliseconds.get(block.signatures[index], 0.0)
    return total


def profile_of(supernet, found, archs=(), times=()):
    """A profile with blocks, and whole subnets."""
    milliseconds = drawn_times(distinct_variants(found))
    blocks = [
        BlockTiming(name, variant.io.path, variant.layer, dict(variant.values), ((1, 3),), (milliseconds[name],))
        for name, variant in distinct_variants(found).items()
    ]
    subnets = [SubnetTiming(arch, (float(ms),)) for arch, ms in zip(archs, times, strict=True)]
    digest = digest_supernet(supernet)
    profile = DeviceProfile(Setting(), {"processor": "none", "cores": 1}, digest, tuple(subnets), tuple(blocks))
    profile.keep_blocks(found)
    return profile


def test_a_table_adds_up_the_blocks_of_a_subnet(supernet, found):
    milliseconds = drawn_times(distinct_variants(found))
    space = supernet.space
    table, archs = LatencyTable(space, found, milliseconds), space.sample(0, 40)
    rows = space.encode(archs)
    wanted = [slow_sum(found, milliseconds, arch, space) for arch in archs]
    np.testing.assert_allclose(table(rows), wanted, rtol=1e-12)
    assert tables_of(table) is not None
    total = sum(one.values[tuple(rows[:, list(one.columns)].T)] for one in table.tables)
    np.testing.assert_allclose(total, wanted, rtol=1e-12)


def test_a_table_of_some_resolutions_says_which_it_lacks(supernet):
    narrow = supernet.space.narrow({"resolution": 32})
    found = find_blocks(supernet, narrow)
    table = LatencyTable(supernet.space, found, drawn_times(distinct_variants(found)), narrow)
    archs = [supernet.space.variant({"resolution": 32}), supernet.space.variant({"resolution": 24})]
    assert table(supernet.space.encode(archs[:1])) > 0
    resolution = supernet.space.names.index("resolution")
    assert any(np.isinf(one.values).any() for one in table.tables if resolution in one.columns)
    with pytest.raises(ProfileError, match="resolution = 24 wasn't measured, only 32; narrow the search"):
        table(supernet.space.encode(archs))


def test_a_lacking_signature_is_named(supernet, found):
    milliseconds = drawn_times(distinct_variants(found))
    first = next(iter(milliseconds))
    del milliseconds[first]
    with pytest.raises(ProfileError, match=rf"lacks '{first}' \(1 of {len(milliseconds) + 1} signatures"):
        LatencyTable(supernet.space, found, milliseconds)


# --- profiles with blocks -----------------------------------------------------------------------------------


def test_a_profile_of_blocks_alone_predicts_their_sum(supernet, found):
    profile = profile_of(supernet, found)
    rows = supernet.space.sample_rows(1, 20)
    table = LatencyTable(supernet.space, found, drawn_times(distinct_variants(found)))
    np.testing.assert_array_equal(profile.latency_ms(supernet, rows), table(rows))
    assert profile.predictor(supernet).kind == "table"
    again = replace(profile)  # which has to survey the supernet itself
    np.testing.assert_array_equal(again.latency_ms(supernet, rows), table(rows))
    assert profile.prediction_error(supernet).n == 0
    assert np.isinf(profile.latency_interval(supernet, rows)[1]).all()


def test_whole_subnets_correct_a_table(supernet, found):
    space = supernet.space
    table = LatencyTable(space, found, drawn_times(distinct_variants(found)))
    archs = space.sample(2, 30)
    times = 0.3 + 0.8 * table(space.encode(archs))
    profile = profile_of(supernet, found, archs, times)
    rows = space.sample_rows(3, 50)
    corrected = profile.predictor(supernet, "corrected")
    np.testing.assert_allclose(corrected(rows), 0.3 + 0.8 * table(rows), rtol=1e-3)
    total = sum(one.values[tuple(rows[:, list(one.columns)].T)] for one in corrected.tables)
    np.testing.assert_allclose(total, corrected(rows), rtol=1e-9)
    assert profile.predictor(supernet).kind == "corrected"  # nothing else has seen every block
    assert profile.predictor(supernet) is profile.predictor(supernet)
    plain = profile.predictor(supernet, "table")
    np.testing.assert_array_equal(plain(rows), table(rows))
    assert plain.error.mape > corrected.error.mape
    low, high = profile.latency_interval(supernet, rows, 0.9)
    assert ((low < high) & (low > 0)).all()


def test_blocks_that_are_not_there_cannot_be_summed(supernet, found):
    profile = replace(profile_of(supernet, found), blocks=())
    with pytest.raises(ProfileError, match="no blocks to sum up"):
        profile.predictor(supernet, "table")
    with pytest.raises(ProfileError, match="8 measured subnets or more, got 0"):
        profile.predictor(supernet)


# --- Once-for-All's tables ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ofa():
    """A block of the published space, so that it is quick."""
    return zoo.create("ofa_mbv3_d234_e346_k357_w1.2", resolutions=[192, 224])


@pytest.fixture(scope="module")
def published(ofa):
    """The blocks at 224 pixels, with their published names."""
    return find_blocks(ofa, ofa.space.narrow({"resolution": 224}), mobilenetv3_signature)


@pytest.fixture(scope="module")
def signatures(published):
    """What the published table has for 224 pixels: 96 signatures."""
    return list(distinct_variants(published))


@pytest.fixture
def surveyed(monkeypatch, published):
    """Spares each test the survey of the supernet."""
    monkeypatch.setattr(ofa_tables, "find_blocks", lambda *_: published)


def test_signatures_are_the_published_ones(signatures):
    assert len(signatures) == 96
    assert set(signatures) >= {
        "Conv-input:224x224x3-output:112x112x24",
        "expanded_conv-input:112x112x24-output:112x112x24-expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0",
        "expanded_conv-input:112x112x24-output:56x56x32-expand:72-kernel:3-stride:2-idskip:0-se:0-hs:0",
        "expanded_conv-input:14x14x136-output:7x7x192-expand:544-kernel:5-stride:2-idskip:0-se:1-hs:1",
        "expanded_conv-input:28x28x48-output:28x28x48-expand:144-kernel:7-stride:1-idskip:1-se:1-hs:0",
        "Conv_1-input:7x7x192-output:7x7x1152",
        "AvgPool2D-input:7x7x1152-output:1x1x1152",
        "Conv_2-input:1x1x1152-output:1x1x1536",
        "Logits-input:1x1x1536-output:1000",
    }


@pytest.mark.parametrize("form", ["numbers", "means", "yaml", "folder"])
def test_a_published_table_is_a_profile(ofa, surveyed, published, signatures, tmp_path, form):
    milliseconds = drawn_times(signatures)
    rich = {name: {"mean": ms, "std": 0.1, "count": 10} for name, ms in milliseconds.items()}
    path = tmp_path / ("table.yaml" if form == "yaml" else "224_table.json")
    path.write_text(json.dumps({"numbers": {"224": milliseconds}, "means": rich}.get(form, rich)))  # JSON is YAML
    profile = load_ofa_table(tmp_path if form == "folder" else path, ofa, "Galaxy Note10")
    assert profile.device["processor"] == "Galaxy Note10"
    assert profile.resolutions == (224,)
    space = ofa.space.narrow({"resolution": 224})
    archs = [dict(arch, resolution=224) for arch in space.sample(0, 10)]
    wanted = [slow_sum(published, milliseconds, arch, space) for arch in archs]
    np.testing.assert_allclose(profile.latency_ms(ofa, archs), wanted, rtol=1e-12)
    again = DeviceProfile.load(profile.save(tmp_path / "saved" / "profile.json"))
    assert again == profile
    if form == "numbers":  # once: it surveys the supernet anew
        np.testing.assert_allclose(again.latency_ms(ofa, archs), wanted, rtol=1e-12)


def test_a_truncated_or_foreign_table_is_refused(ofa, surveyed, signatures, tmp_path):
    milliseconds = drawn_times(signatures)
    path = tmp_path / "table.json"
    lacking = next(name for name in milliseconds if "expand:816" in name)
    path.write_text(json.dumps({name: ms for name, ms in milliseconds.items() if name != lacking}))
    with pytest.raises(ProfileError, match=rf"lacks '{lacking}' \(1 of 96 signatures are missing\)"):
        load_ofa_table(path, ofa)
    path.write_text(json.dumps(milliseconds)[:500])
    with pytest.raises(ProfileError, match=r"isn't a latency table of Once-for-All.*truncated"):
        load_ofa_table(path, ofa)
    path.write_text('{"Conv": 3}')
    with pytest.raises(ProfileError, match="its first entry is 'Conv'"):
        load_ofa_table(path, ofa)
    path.write_text(json.dumps({**milliseconds, lacking: "fast"}))
    with pytest.raises(ProfileError, match="has 'fast'; wanted milliseconds above 0"):
        load_ofa_table(path, ofa)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.yaml", "a: [1", "isn't a latency table.*truncated"),
        ("t.yaml", "- 1", "it holds a list"),
        ("none.yaml", None, "doesn't exist"),
        ("none.json", None, "doesn't exist"),
    ],
)
def test_a_broken_file_is_refused(ofa, tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ProfileError, match=message):
        load_ofa_table(tmp_path / name, ofa)


def test_a_table_of_other_resolutions_is_refused(ofa, signatures, tmp_path):
    other = {name.replace("224x224x3", "160x160x3"): 1.0 for name in signatures}
    (tmp_path / "t.json").write_text(json.dumps(other))
    with pytest.raises(ProfileError, match=r"has resolutions \[160\], the supernet \[192, 224\]"):
        load_ofa_table(tmp_path / "t.json", ofa)


def test_the_way_of_naming_follows_from_the_names():
    stem = "expanded_conv-input:112x112x16-output:56x56x24-expand:6-kernel:5-stride:2-idskip:0"
    assert naming([stem]) is proxyless_signature
    assert naming(["Conv-input:…", f"{stem}-se:0-hs:0"]) is mobilenetv3_signature
    assert naming(["InvertedResidual-24x56x56-3f9a1b2c"]) is None
