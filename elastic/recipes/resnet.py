"""Residual networks of timm: ResNet and its B to T variants, Wide ResNet, ResNeXt, SE- and ECA-ResNet.

Elastic: bottleneck width of each block (number of groups for ResNeXt), stem and stage widths, depth of each
stage, resolution. Stage s is timm's `layer{s + 1}`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from elastic.layout.recipe import Recipe, register_recipe
from elastic.recipes.convnets import Draft, Table, grouped, pooled, straight, table_of
from elastic.space.sizes import PART, WIDTH, DimRule
from elastic.upstream.families import FAMILIES
from elastic.upstream.library import Size3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elastic.upstream.families import ResNet

_ATTENTION: Table = {
    "se.fc1?": "{squeeze} {out} ...",
    "se.bn?": "{squeeze}",
    "se.fc2?": "{out} {squeeze} ...",
    "se.fc?": "{out} {out} ...",
    "se.conv?": "1 1 _",
    "aa?": "{mid} ...",
    "aa.channels?": "{mid}",
}
_BLOCKS: dict[str, Table] = {
    "resnet:BasicBlock": {
        "conv1": "{mid} {in} ...",
        "bn1": "{mid}",
        "conv2": "{out} {mid} ...",
        "bn2": "{out}",
        **_ATTENTION,
    },
    "resnet:Bottleneck": {
        "conv1": "{inner} {in} ...",
        "bn1": "{inner}",
        "conv2": "{mid} {fan} ...",
        "bn2": "{mid}",
        "conv3": "{out} {mid} ...",
        "bn3": "{out}",
        **_ATTENTION,
    },
}

_DEEP_STEM: Table = {"0": "{a} {in} ...", "1": "{a}", "3": "{b} {a} ...", "4": "{b}", "6": "{out} {b} ..."}
_RESIDUAL_STEM: Table = {
    "0": "{a} {in} ...",
    "1": "{a}",
    "3?": "{depth}",
    "3.0.conv?": "{a} {a} ...",
    "3.0.bn1?": "{a}",
    "4": "{out} {a} ...",
}


@register_recipe("resnet", *FAMILIES["resnet"])
def resnet(
    model: ResNet,
    resolutions: Sequence[int] | None = None,
    input_size: Size3 | None = None,
) -> Recipe:
    """Recipe for timm's `ResNet`.

    Args:
        model: the network.
        resolutions: choices of the side of the square input, in pixels.
        input_size: (channels, height, width) of the full-size input; by default as the model's configuration says.

    Raises:
        LayoutError: blocks, attention or norms that the recipe doesn't know, or an input that isn't square.
    """
    draft = Draft(model, "resnet")
    _stem(draft, model)
    width = "stem"
    for stage in range(len(model.feature_info) - 1):
        name = f"layer{stage + 1}"
        draft.layout[name] = f"depth.{stage}"
        block: Any
        for index, block in enumerate(model.get_submodule(name).children()):
            before, width = width, width if block.downsample is None else f"width.{stage}"
            _block(draft, f"{name}.{index}", block, f"{stage}.{index}", before, width)
    draft.layout |= {
        "fc?": f"_ {pooled(model.head_hidden_size, model.num_features, width)}",
        "num_features": width,
        "head_hidden_size": pooled(model.head_hidden_size, model.num_features, width),
    }
    stream = _stream_rule(draft, model)
    dims = {"stem": stream, "width": stream, "mid": WIDTH, "inner": WIDTH, "groups": PART, "depth": PART}
    dims["depth.stem"] = DimRule((0, 1))
    return draft.recipe(dims, input_size, resolutions)


def _stream_rule(draft: Draft, model: ResNet) -> DimRule:
    """The choices of stage widths. ECA mixes neighbouring channels, so with it their order is fixed."""
    if not any(isinstance(module, nn.Conv1d) for module in model.modules()):
        return WIDTH
    draft.notes["order of stage widths"] = "stays: channel attention (ECA) mixes neighbouring channels"
    return replace(WIDTH, keep="ordered")


def _stem(draft: Draft, model: ResNet) -> None:
    """One 7×7 convolution, or three of 3×3; then a pooling that may be convolutional or anti-aliased.

    Where the middle one has a skip connection (Once-for-All's ResNet50-D), a depth of 0 or 1 leaves it out.
    """
    if isinstance(model.conv1, nn.Sequential):
        names = {"in": "_", "a": "stem.0", "b": "stem.1", "out": "stem", "depth": "depth.stem"}
        draft.add(_RESIDUAL_STEM if isinstance(model.conv1[3], nn.Sequential) else _DEEP_STEM, names, "conv1")
    else:
        draft.layout["conv1"] = "stem ..."
    draft.layout["bn1"] = "stem"
    draft.add(straight(model.maxpool, "{out}"), {"out": "stem"}, "maxpool")


def _block(draft: Draft, path: str, block: Any, place: str, before: str, width: str) -> None:
    table = table_of(block, _BLOCKS, "resnet", path)
    middle = {"mid": f"mid.{place}"} if "conv3" not in table else grouped(block.conv2, place)
    names = {**middle, "in": before, "out": width, "squeeze": f"squeeze.{place}"}
    if isinstance(getattr(block.se, "fc1", None), nn.Conv2d):
        draft.squeeze(names["squeeze"], block.se.fc1, width)
    draft.add(table, names, path)
    if block.downsample is not None:
        draft.add(straight(block.downsample), names, f"{path}.downsample")
