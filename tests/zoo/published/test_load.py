"""Published supernets, imported, compute what Once-for-All computes: against a slow reference, without a download."""

import pytest
import reference
import torch
from examples import mostly_swept, tenth
from published import RESOLUTIONS, drawn, error, images, imported, write

import zoo
from elastic.errors import CheckpointError, RecipeError
from zoo.published.load import load_reference

names = pytest.mark.parametrize("name", mostly_swept(reference.NAMES, [reference.MOBILE[0], reference.RESNET]))


def network(name, arch):
    encoded = zoo.from_arch(imported(name), arch)
    return reference.Network(reference.config_of(name, encoded), reference.specialise(name, drawn(name), encoded))


@names
def test_the_reference_has_as_many_tensors_as_the_published_file(name):
    assert len(drawn(name)) == reference.KEYS[name]


@names
@torch.no_grad()
def test_subnets_compute_what_the_reference_computes(name):
    supernet = imported(name)
    archs = [supernet.space.smallest, supernet.space.largest, *supernet.space.sample(0, tenth())]
    params, macs = supernet.params(archs), supernet.macs(archs)
    for arch, own_params, own_macs in zip(archs, params, macs, strict=True):
        slow = network(name, arch)
        x = images(arch["resolution"])
        wanted = slow(x)
        with supernet.active(arch):
            assert error(supernet(x), wanted) < 1e-5
        assert error(supernet.extract(arch)(x), wanted) < 1e-5
        assert own_params == reference.count_parameters(slow.state)
        assert own_macs == slow.macs


@names
@torch.no_grad()
def test_each_choice_shows_in_the_logits(name):
    """What the comparison above has to notice, ten times its tolerance at least."""
    supernet = imported(name)
    x = images(128)
    dims = supernet.space.dims
    with supernet.active(supernet.space.variant({"resolution": 128})):
        wanted = supernet(x)
    for dim in dims[:: max(1, len(dims) // 12)]:
        with supernet.active(supernet.space.variant({"resolution": 128, dim.name: dim.choices[0]})):
            assert dim.name == "resolution" or error(supernet(x), wanted) > 1e-4


@pytest.mark.parametrize("old", [False, True])
def test_a_file_is_imported_as_it_is_in_new_and_old_names(tmp_path, old):
    name = reference.NAMES[0]
    state = drawn(name)
    if old:
        blocks = {key: key.replace(".conv.", ".mobile_inverted_conv.", 1) for key in state if key.startswith("blocks.")}
        state = {blocks.get(key, key): tensor for key, tensor in state.items()}
        assert "blocks.1.mobile_inverted_conv.depth_conv.conv.7to5_matrix" in state
    made = zoo.import_checkpoint(name, write(tmp_path / name, state, epoch=3), resolutions=RESOLUTIONS)
    assert not made.training
    own, wanted = made.model.state_dict(), imported(name).model.state_dict()
    assert own.keys() == wanted.keys()
    assert all(torch.equal(own[key], wanted[key]) for key in own)
    assert made.model.pretrained_cfg["crop_pct"] == 0.875


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (0, "blocks.5.conv.depth_conv.se.fc.reduce.bias", None, r"it lacks blocks\.5\.conv.*reduce\.bias \(1 missing"),
        (0, None, "blocks.5.conv.extra", r"it has blocks\.5\.conv\.extra, .* \(1 unknown\)"),
        (2, "blocks.3.conv.depth_conv.conv.7to5_matrix", None, r"it lacks blocks\.3.*7to5_matrix"),
        (3, "input_stem.1.conv.bn.bn.weight", "input_stem.1.bn.bn.weight", r"lacks input_stem\.1\.conv.*; it has"),
    ],
)
def test_a_missing_or_foreign_key_is_named(tmp_path, name, old, new, message):
    state = dict(drawn(reference.NAMES[name]))
    tensor = state.pop(old) if old else torch.zeros(1)
    if new:
        state[new] = tensor
    with pytest.raises(CheckpointError, match=message):
        zoo.import_checkpoint(reference.NAMES[name], write(tmp_path / "init", state), resolutions=[224])


def test_a_misshapen_tensor_is_named_and_nothing_is_loaded(tmp_path):
    name = reference.NAMES[3]
    supernet = zoo.create(name, resolutions=[224])
    before = {key: tensor.clone() for key, tensor in supernet.model.state_dict().items()}
    state = {**drawn(name), "blocks.0.conv2.conv.conv.weight": torch.zeros(88, 88, 1, 1)}
    with pytest.raises(CheckpointError, match=r"0\.conv2\.conv\.conv\.weight is \(88, 88, 1, 1\), wanted .*3, 3"):
        load_reference(supernet.model, state, "init", elastic=True)
    assert all(torch.equal(tensor, before[key]) for key, tensor in supernet.model.state_dict().items())


def test_another_networks_file_is_refused(tmp_path):
    path = write(tmp_path / "init", drawn(reference.NAMES[2]))
    with pytest.raises(CheckpointError, match="may be another supernet's or a specialised network's file"):
        zoo.import_checkpoint(reference.NAMES[0], path, resolutions=[224])
    with pytest.raises(CheckpointError, match=r"first_conv\.conv\.weight is \(16, 3, 3, 3\), wanted \(24, 3, 3, 3\)"):
        zoo.import_checkpoint(
            reference.NAMES[1], write(tmp_path / "init", drawn(reference.NAMES[0])), resolutions=[224]
        )


def test_files_that_are_none_are_refused(tmp_path):
    name = reference.NAMES[0]
    whole = write(tmp_path / "whole", {"a": torch.zeros(100)}).read_bytes()
    (tmp_path / "truncated").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text").write_text("version https://git-lfs.github.com/spec/v1\n")
    torch.save({"state_dict": torch.nn.Linear(1, 1)}, tmp_path / "pickle")  # code: refused, not run
    for file in ("truncated", "text", "pickle", ""):
        with pytest.raises(CheckpointError, match="can't be read as a PyTorch file of tensors"):
            zoo.import_checkpoint(name, tmp_path / file)
    with pytest.raises(CheckpointError, match="doesn't exist; wanted one of Once-for-All's"):
        zoo.import_checkpoint(name, tmp_path / "missing")
    for values in ([1], {"a": torch.zeros(1)}, {"state_dict": {"a": 1}}):
        torch.save(values, tmp_path / "other")
        with pytest.raises(CheckpointError, match="is no file of Once-for-All: wanted"):
            zoo.import_checkpoint(name, tmp_path / "other")
    with pytest.raises(RecipeError, match="the zoo has no supernet 'ofa'"):
        zoo.import_checkpoint("ofa", tmp_path / "whole")
