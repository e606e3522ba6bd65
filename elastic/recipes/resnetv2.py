"""Pre-activation residual networks of timm with BatchNorm: ResNetV2, and WideResNets built from its blocks.

Elastic: inner width of each block, stem and stage widths, depth of each stage, resolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elastic.layout.recipe import Recipe, register_recipe
from elastic.recipes.convnets import Draft, Table, grouped, pooled, straight, table_of
from elastic.space.sizes import PART, WIDTH
from elastic.upstream.families import FAMILIES
from elastic.upstream.library import Size3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elastic.upstream.families import ResNetV2

_BLOCKS: dict[str, Table] = {
    "resnetv2:PreActBasic": {
        "norm1": "{in}",
        "conv1": "{mid} {in} ...",
        "norm2": "{mid}",
        "conv2": "{out} {mid} ...",
    },
    "resnetv2:PreActBottleneck": {
        "norm1": "{in}",
        "conv1": "{inner} {in} ...",
        "norm2": "{inner}",
        "conv2": "{mid} {fan} ...",
        "norm3": "{mid}",
        "conv3": "{out} {mid} ...",
    },
}
_STEM: Table = {
    "conv?": "{out} _ ...",
    "conv1?": "{a} _ ...",
    "norm1?": "{a}",
    "conv2?": "{b} {a} ...",
    "norm2?": "{b}",
    "conv3?": "{out} {b} ...",
}
"""One convolution, or three of 3×3."""


@register_recipe("resnetv2", *FAMILIES["resnetv2"])
def resnetv2(
    model: ResNetV2,
    resolutions: Sequence[int] | None = None,
    input_size: Size3 | None = None,
) -> Recipe:
    """Recipe for timm's `ResNetV2`.

    Args:
        model: the network.
        resolutions: choices of the side of the square input, in pixels.
        input_size: (channels, height, width) of the full-size input; by default as the model's configuration says.

    Raises:
        LayoutError: blocks or norms that the recipe doesn't know, or an input that isn't square.
    """
    draft = Draft(model, "resnetv2")
    draft.add(_STEM, {"out": "stem", "a": "stem.0", "b": "stem.1"}, "stem")
    width = "stem"
    module: Any
    for stage, module in enumerate(model.stages.children()):
        path = f"stages.{stage}.blocks"
        draft.layout[path] = f"depth.{stage}"
        for index, block in enumerate(module.blocks):
            before, width = width, width if block.downsample is None else f"width.{stage}"
            _block(draft, f"{path}.{index}", block, f"{stage}.{index}", before, width)
    # timm 1.0.31 has it first
    features = pooled(getattr(model.head, "num_features", model.num_features), model.num_features, width)
    draft.layout |= {
        "norm": width,
        "head.fc?": f"_ {features} ...",
        "head.in_features": width,
        "head.num_features?": features,
        "num_features": width,
        "head_hidden_size": features,
    }
    dims = {"stem": WIDTH, "width": WIDTH, "mid": WIDTH, "inner": WIDTH, "groups": PART, "depth": PART}
    return draft.recipe(dims, input_size, resolutions)


def _block(draft: Draft, path: str, block: Any, place: str, before: str, width: str) -> None:
    table = table_of(block, _BLOCKS, "resnetv2", path)
    middle = grouped(block.conv2, place) if "conv3" in table else {"mid": f"mid.{place}"}
    names = {**middle, "in": before, "out": width}
    draft.add(table, names, path)
    if block.downsample is not None:
        draft.add(straight(block.downsample), names, f"{path}.downsample")
