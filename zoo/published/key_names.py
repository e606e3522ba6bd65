"""The names that Once-for-All's files have for the tensors of our models.

    first_conv.conv.weight                                conv_stem.weight
    blocks.1.conv.inverted_bottleneck.conv.conv.weight    blocks.1.0.conv_pw.weight
    blocks.1.conv.depth_conv.conv.7to5_matrix             blocks.1.0.conv_dw.7to5_matrix
    blocks.4.conv2.bn.bn.weight                           layer2.0.bn2.weight

A supernet's elastic layers repeat their kind (`.conv.conv.`, `.bn.bn.`, `.linear.linear.`); in a specialised
network nothing does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from timm.models.resnet import ResNet
from torch import nn

Layer = tuple[str, str, bool]
"""Path in our model, name in a specialised network's file, and whether a supernet's file repeats its kind."""

_MOBILE = {
    "conv_stem": "first_conv.conv",
    "bn1": "first_conv.bn",
    "conv_head": "feature_mix_layer.conv",
    "bn2": "feature_mix_layer.bn",
    "classifier": "classifier.linear",
}
_INVERTED_RESIDUAL = {
    "conv_pw": "inverted_bottleneck.conv",
    "bn1": "inverted_bottleneck.bn",
    "conv_dw": "depth_conv.conv",
    "bn2": "depth_conv.bn",
    "se.conv_reduce": "depth_conv.se.fc.reduce",
    "se.conv_expand": "depth_conv.se.fc.expand",
    "conv_pwl": "point_linear.conv",
    "bn3": "point_linear.bn",
}
_SEPARABLE = {
    "conv_dw": "depth_conv.conv",
    "bn1": "depth_conv.bn",
    "conv_pw": "point_linear.conv",
    "bn2": "point_linear.bn",
}
_LAST_EXPANSION = {"conv": "final_expand_layer.conv", "bn1": "final_expand_layer.bn"}

_RESNET = {"conv1.0": "input_stem.0.conv", "conv1.1": "input_stem.0.bn", "fc": "classifier.linear"}
_STEM_MIDDLE = {"conv1.3.0.conv": "input_stem.1.conv.conv", "conv1.3.0.bn1": "input_stem.1.conv.bn"}
_BOTTLENECK = {
    **{f"conv{at}": f"conv{at}.conv" for at in (1, 2, 3)},
    **{f"bn{at}": f"conv{at}.bn" for at in (1, 2, 3)},
}
_SHORTCUT = ("downsample.conv", "downsample.bn")
"""Behind a pooling or not."""


def reference_keys(model: nn.Module, elastic: bool) -> dict[str, str]:
    """For each key of Once-for-All's file, in the order of the model's: the key in the model's `state_dict`.

    Args:
        model: one that `zoo.networks.mobile` or `zoo.networks.ofa_resnet` built, plain or elastic.
        elastic: whether the file is a supernet's.
    """
    state = model.state_dict()
    paths = list(dict.fromkeys(key.rpartition(".")[0] for key in state))
    layers = _resnet_layers(paths) if isinstance(model, ResNet) else _mobile_layers(paths)
    found = {path: (name, repeats) for path, name, repeats in layers}
    keys = {}
    for key in state:
        path, _, tensor = key.rpartition(".")
        name, repeats = found[path]
        kind = name.rpartition(".")[2]
        repeated = elastic and repeats and not tensor.endswith("_matrix")
        keys[f"{name}.{kind}.{tensor}" if repeated else f"{name}.{tensor}"] = key
    return keys


def _mobile_layers(paths: Iterable[str]) -> Iterator[Layer]:
    """Of a `MobileNetV3` or an `EfficientNet`: only the blocks behind the first one are elastic, but their SE."""
    outside, blocks = _blocks(paths, "blocks")
    for path in outside:
        yield path, _MOBILE[path], False
    for number, (place, inside) in enumerate(blocks.items()):
        if "conv" in inside:
            yield from ((f"{place}.{path}", _LAST_EXPANSION[path], False) for path in inside)
            continue
        table = _INVERTED_RESIDUAL if "conv_pwl" in inside else _SEPARABLE
        for path in inside:
            yield f"{place}.{path}", f"blocks.{number}.conv.{table[path]}", number > 0 and not path.startswith("se.")


def _resnet_layers(paths: list[str]) -> Iterator[Layer]:
    """Of a `ResNet` as `zoo.networks.ofa_resnet` builds them: everything is elastic."""
    outside, blocks = _blocks(paths, "layer")
    last = 2 if "conv1.3.0.conv" in paths else 1
    stem = _RESNET | _STEM_MIDDLE | {"conv1.4": f"input_stem.{last}.conv", "bn1": f"input_stem.{last}.bn"}
    for path in outside:
        yield path, stem[path], True
    for number, (place, inside) in enumerate(blocks.items()):
        shortcut = [path for path in inside if path.startswith("downsample.")]
        table = _BOTTLENECK | dict(zip(shortcut, _SHORTCUT, strict=False))
        for path in inside:
            yield f"{place}.{path}", f"blocks.{number}.{table[path]}", True


def _blocks(paths: Iterable[str], prefix: str) -> tuple[list[str], dict[str, list[str]]]:
    """The paths outside of blocks; and by block (`blocks.1.0`, `layer1.0`), in order, the paths inside of it."""
    depth = 3 if prefix == "blocks" else 2
    outside: list[str] = []
    blocks: dict[str, list[str]] = {}
    for path in paths:
        parts = path.split(".")
        if parts[0].startswith(prefix):
            blocks.setdefault(".".join(parts[:depth]), []).append(".".join(parts[depth:]))
        else:
            outside.append(path)
    return outside, blocks
