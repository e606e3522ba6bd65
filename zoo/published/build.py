"""Once-for-All's specialised networks, as published: `net.config` and weights in, a plain timm model out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from elastic.errors import CheckpointError
from elastic.space.sizes import make_divisible
from elastic.support.reading import read_json
from zoo.networks.mobile import mobilenetv3, proxyless
from zoo.networks.ofa_resnet import Stage, resnet50d
from zoo.networks.preprocessing import describe_images
from zoo.published.load import load_reference, read_state_dict

Config = Mapping[str, Any]
"""A layer, or a whole network, as `net.config` describes it."""


def import_specialised(folder: str | Path) -> nn.Module:
    """A specialised network in evaluation mode: timm's `MobileNetV3`, `EfficientNet` or `ResNet`.

        zoo.import_specialised("flops@595M_top1@80.0_finetune@75")

    Args:
        folder: holds the published files: `net.config`, `init` (the weights) and `run.config` (the resolution;
            224 where it is missing).

    Raises:
        CheckpointError: a file that is missing, truncated or foreign, a network of another kind, or a key among
            the weights that is missing, unknown or misshapen; the message names it.
    """
    folder = Path(folder).expanduser()
    config = read_net_config(folder)
    side = _read_side(folder / "run.config")
    model = build_specialised(config, str(folder / "net.config"))
    load_reference(model, read_state_dict(folder / "init"), str(folder / "init"), elastic=False)
    describe_images(model, (3, side, side), folder.name)
    return model.eval()


def _read_side(run: Path) -> int:
    """The side of the square input, in pixels."""
    side = read_json(run, CheckpointError, "its resolution").get("image_size", 224) if run.exists() else 224
    if not isinstance(side, int) or side < 1:
        raise CheckpointError(f"{run}: image_size is {side!r}; wanted one side in pixels, such as 224")
    return side


def read_net_config(folder: Path) -> Config:
    """The `net.config` in a folder.

    Raises:
        CheckpointError: there is none, or it is broken.
    """
    return read_json(folder / "net.config", CheckpointError, "a specialised network's description")


def build_specialised(config: Config, origin: str = "net.config") -> nn.Module:
    """The plain timm model that a `net.config` describes, with fresh weights.

    Args:
        config: as published: `name`, `bn`, `blocks` and so on.
        origin: where it is from, for messages.

    Raises:
        CheckpointError: a network or a layer of another kind, or a description that isn't whole.
    """
    builders = {"MobileNetV3": _mobilenetv3, "ProxylessNASNets": _proxyless, "ResNets": _resnet}
    name = config.get("name")
    if not isinstance(name, str) or name not in builders:
        raise CheckpointError(f"{origin}: name is {name!r}; wanted one of {', '.join(builders)}")
    try:
        return builders[name](config)
    except CheckpointError as error:
        raise CheckpointError(f"{origin}: {error}") from None
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, AssertionError, RuntimeError) as error:
        raise CheckpointError(f"{origin} describes no whole network: {type(error).__name__} {error}") from error


def _expect(layer: Config, place: str, **wanted: Any) -> None:
    """Refuse a layer that the timm model would compute otherwise; what isn't said is as wanted."""
    for key, value in wanted.items():
        given = layer.get(key, value)
        if given != value:
            raise CheckpointError(f"{key} of {place} is {given!r}; a network with {value!r} can be imported")


def _eps(config: Config, default: float) -> float:
    return float((config.get("bn") or {}).get("eps", default))


# --- mobile networks ----------------------------------------------------------------------------------------


def _mobilenetv3(config: Config) -> nn.Module:
    first, last, mix = config["first_conv"], config["final_expand_layer"], config["feature_mix_layer"]
    _expect(first, "first_conv", kernel_size=3, stride=2, act_func="h_swish", use_bn=True)
    _expect(last, "final_expand_layer", kernel_size=1, act_func="h_swish", use_bn=True)
    _expect(mix, "feature_mix_layer", kernel_size=1, act_func="h_swish", use_bn=False, bias=False)
    stages = _stages(config["blocks"], {"h_swish": "", "relu": "_nre"}, squeezes=True)
    stages.append([f"cn_r1_k1_s1_c{last['out_channels']}"])
    classes = config["classifier"]["out_features"]
    return mobilenetv3(stages, first["out_channels"], mix["out_channels"], _eps(config, 1e-5), classes=classes)


def _proxyless(config: Config) -> nn.Module:
    first, mix = config["first_conv"], config["feature_mix_layer"]
    _expect(first, "first_conv", kernel_size=3, stride=2, act_func="relu6", use_bn=True)
    _expect(mix, "feature_mix_layer", kernel_size=1, act_func="relu6", use_bn=True, bias=False)
    stages = _stages(config["blocks"], {"relu6": ""}, squeezes=False)
    classes = config["classifier"]["out_features"]
    return proxyless(stages, first["out_channels"], mix["out_channels"], _eps(config, 1e-3), classes=classes)


def _stages(blocks: Sequence[Config], activations: Mapping[str, str], squeezes: bool) -> list[list[str]]:
    """The blocks in timm's notation, by stage."""
    for number, block in enumerate(blocks):
        conv = conv_of(block)
        _expect(conv, f"block {number}", groups=None, **({} if squeezes else {"use_se": False}))
        if conv["act_func"] not in activations:
            _expect(conv, f"block {number}", act_func=next(iter(activations)))
    return [
        [
            _words(conv_of(block)) + activations[conv_of(block)["act_func"]] + ("" if block["shortcut"] else "_noskip")
            for block in stage
        ]
        for stage in blocks_by_stage(blocks)
    ]


def _words(conv: Config) -> str:
    """One block in timm's notation, without its activation."""
    mid = mid_of(conv, conv["in_channels"])
    kind = "ds" if conv["expand_ratio"] == 1 else "ir"
    squeeze = "_se0.25" if conv["use_se"] else ""
    expansion = mid / conv["in_channels"]
    return f"{kind}_r1_k{conv['kernel_size']}_s{conv['stride']}_e{expansion}_c{conv['out_channels']}{squeeze}"


# --- ResNet50-D ---------------------------------------------------------------------------------------------


def _resnet(config: Config) -> nn.Module:
    first, *middle, last = config["input_stem"]
    if len(middle) > 1:
        raise CheckpointError(f"input_stem has {len(middle) + 2} layers; networks with 2 or 3 can be imported")
    for layer, stride in ((first, 2), (last, 1), *((one["conv"], 1) for one in middle)):
        _expect(layer, "input_stem", kernel_size=3, stride=stride, act_func="relu", use_bn=True, bias=False)
    for number, block in enumerate(config["blocks"]):
        _expect(block, f"block {number}", kernel_size=3, groups=1, act_func="relu", downsample_mode="avgpool_conv")
    stages = blocks_by_stage(config["blocks"])
    for number, stage in enumerate(stages):
        _expect(stage[0], f"stage {number}", stride=2 if number else 1)
    return resnet50d(
        (first["out_channels"], last["out_channels"]),
        [Stage(stage[0]["out_channels"], tuple(map(_mid, stage))) for stage in stages],
        residual=bool(middle),
        classes=config["classifier"]["out_features"],
        eps=_eps(config, 1e-5),
    )


def _mid(block: Config) -> int:
    return int(make_divisible(mid_of(block, block["out_channels"]), 8))


# --- blocks of both kinds -----------------------------------------------------------------------------------


def blocks_by_stage(blocks: Sequence[Config]) -> list[list[Config]]:
    """The blocks of a `net.config`, grouped: a stage begins where a block has no skip connection.

    A mobile network's first block, which is no part of a stage, is one by itself.
    """
    stages: list[list[Config]] = []
    for number, block in enumerate(blocks):
        skips = block["shortcut"] if "shortcut" in block else not _changes(block)
        if not stages or not skips or (number == 1 and "shortcut" in block):
            stages.append([])
        stages[-1].append(block)
    return stages


def _changes(block: Config) -> bool:
    return bool(block["stride"] > 1 or block["in_channels"] != block["out_channels"])


def conv_of(block: Config) -> Config:
    """A mobile network's block without its skip connection, under its present name or that of before 2020."""
    conv: Config = block.get("conv") or block["mobile_inverted_conv"]
    return conv


def mid_of(layer: Config, width: int) -> int:
    """Channels inside a block, `expand_ratio` being relative to `width` where they aren't said."""
    return int(layer.get("mid_channels") or round(width * layer["expand_ratio"]))
