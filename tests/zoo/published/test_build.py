"""Specialised networks, imported, are plain timm models that compute what Once-for-All computes."""

import pytest
import reference
import torch
from examples import mostly_swept
from published import drawn, error, images, imported, older, publish
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import ResNet

import zoo
from elastic.errors import CheckpointError
from zoo.published.build import build_specialised

CLASSES = {"MobileNetV3": MobileNetV3, "ProxylessNASNets": EfficientNet, "ResNets": ResNet}
names = pytest.mark.parametrize("name", mostly_swept(reference.NAMES, [reference.MOBILE[0], reference.RESNET]))


@names
@torch.no_grad()
def test_a_specialised_network_is_a_plain_timm_model_that_computes_the_same(name, tmp_path):
    supernet = imported(name)
    for seed in range(3):
        arch = supernet.space.sample(seed)
        encoded = zoo.from_arch(supernet, arch)
        config, state = reference.config_of(name, encoded), reference.specialise(name, drawn(name), encoded)
        model = zoo.import_specialised(publish(tmp_path / "net@160", config, state))
        assert type(model) is CLASSES[config["name"]]
        assert not model.training
        assert model.pretrained_cfg["input_size"] == (3, 160, 160)
        x = images(160)
        assert error(model(x), reference.Network(config, state)(x)) < 1e-5
        extracted = supernet.extract(arch)
        assert str(model) == str(extracted)
        assert list(model.state_dict()) == list(extracted.state_dict())
        assert error(model(x), extracted(x)) < 1e-5


def test_old_names_are_read(tmp_path):
    name = reference.NAMES[0]
    encoded = zoo.from_arch(imported(name), imported(name).space.sample(0))
    config, state = reference.config_of(name, encoded), reference.specialise(name, drawn(name), encoded)
    old = {key: key.replace(".conv.", ".mobile_inverted_conv.", 1) if "blocks." in key else key for key in state}
    new = zoo.import_specialised(publish(tmp_path / "new", config, state))
    same = zoo.import_specialised(publish(tmp_path / "old", older(config), {old[key]: state[key] for key in state}))
    assert all(torch.equal(one, other) for one, other in zip(new.parameters(), same.parameters(), strict=True))


def test_the_reference_says_what_a_published_config_says():
    """`v100_gpu64@11ms_top1@76.1_finetune@25`: its encoding, and widths that its published `net.config` states."""
    arch = {"d": [2, 2, 3, 4, 4, 1], "ks": [3] * 21, "e": [3] * 21}
    kernels = [3, 3, 5, 5, 7, 3, 7, 7, 5, 3, 7, 3, 5, 5, 3, 3]
    expands = [3, 3, 6, 3, 3, 3, 4, 4, 4, 3, 4, 6, 6, 4, 6, 4]
    mids = [72, 96, 192, 168, 168, 312, 416, 416, 512, 384, 512, 768, 1488, 992, 1488, 992]
    for at, number in enumerate(reference.kept_blocks(reference.NAMES[2], arch)[1:]):
        arch["ks"][number - 1], arch["e"][number - 1] = kernels[at], expands[at]
    config = reference.config_of(reference.NAMES[2], arch)
    blocks = [block["conv"] for block in config["blocks"]]
    assert [block["kernel_size"] for block in blocks] == [3, *kernels]
    assert [block["mid_channels"] for block in blocks] == [None, *mids]
    assert [block["out_channels"] for block in blocks] == [
        24, *[32] * 2, *[56] * 2, *[104] * 3, *[128] * 4, *[248] * 4, 416,
    ]  # fmt: skip
    assert (config["first_conv"]["out_channels"], config["feature_mix_layer"]["out_channels"]) == (40, 1664)
    assert config["bn"]["eps"] == 1e-3


@pytest.mark.parametrize(
    ("name", "place", "change", "message"),
    [
        (0, (), {"name": "DARTS"}, "name is 'DARTS'; wanted one of MobileNetV3, ProxylessNASNets, ResNets"),
        (0, (), {"name": ["MobileNetV3"]}, r"name is \['MobileNetV3'\]; wanted one of MobileNetV3"),
        (0, (), {"bn": [1e-5]}, "describes no whole network: AttributeError"),
        (0, ("first_conv",), {"act_func": "tanh"}, "act_func of first_conv is 'tanh'; a network with 'h_swish'"),
        (0, ("blocks", 3, "conv"), {"act_func": "elu"}, "act_func of block 3 is 'elu'"),
        (2, ("blocks", 3, "conv"), {"use_se": True}, "use_se of block 3 is True"),
        (3, ("blocks", 2), {"groups": 2}, "groups of block 2 is 2"),
        (3, ("input_stem", 0), {"kernel_size": 7}, "kernel_size of input_stem is 7"),
        (0, (), {"classifier": {}}, "describes no whole network: KeyError 'out_features'"),
        (3, (), {"input_stem": []}, "describes no whole network: ValueError"),
        (3, (), {"blocks": None}, "describes no whole network: TypeError"),
    ],
)
def test_a_config_of_another_kind_is_refused(name, place, change, message):
    config = reference.config_of(reference.NAMES[name], reference.largest(reference.NAMES[name]))
    part = config
    for key in place:
        part = part[key]
    part |= change
    with pytest.raises(CheckpointError, match=message):
        build_specialised(config)


def test_files_that_do_not_fit_are_refused(tmp_path):
    name = reference.NAMES[0]
    encoded = zoo.from_arch(imported(name), imported(name).space.smallest)
    config, state = reference.config_of(name, encoded), reference.specialise(name, drawn(name), encoded)
    folder = publish(tmp_path / "net", config, drawn(name))
    with pytest.raises(CheckpointError, match=r"It may be a supernet's or another config's file"):
        zoo.import_specialised(folder)
    kernel = "blocks.1.conv.depth_conv.conv.weight"
    publish(folder, config, {**state, kernel: torch.zeros(48, 1, 7, 7)})
    with pytest.raises(CheckpointError, match=r"blocks\.1\.conv\.depth_conv\.conv\.weight is \(48, 1, 7, 7\), wanted"):
        zoo.import_specialised(folder)
    (folder / "run.config").write_text('{"image_size": [160, 224]}')
    with pytest.raises(CheckpointError, match=r"run\.config: image_size is \[160, 224\]; wanted one side in pixels"):
        zoo.import_specialised(folder)
    (folder / "net.config").write_text("{")
    with pytest.raises(CheckpointError, match=r"net\.config isn't a specialised network's description"):
        zoo.import_specialised(folder)
    with pytest.raises(CheckpointError, match=r"net\.config doesn't exist"):
        zoo.import_specialised(tmp_path)
