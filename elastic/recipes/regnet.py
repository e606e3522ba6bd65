"""RegNets of timm: X, Y (with squeeze-and-excitation) and Z (pre-activation).

Elastic: number of groups of each block's middle convolution (the width of a group stays), stem and stage
widths, depth of each stage, resolution. Stage s is timm's `s{s + 1}`, block b its `b{b + 1}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from elastic.layout.recipe import Recipe, register_recipe
from elastic.recipes.convnets import Draft, Table, grouped, pooled, straight, table_of
from elastic.space.sizes import PART, WIDTH
from elastic.upstream.families import FAMILIES
from elastic.upstream.library import Size3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elastic.upstream.families import RegNet

_EXCITE: Table = {"se.fc1?": "{squeeze} {mid} ...", "se.fc2?": "{mid} {squeeze} ..."}
_BLOCKS: dict[str, Table] = {
    "regnet:Bottleneck": {
        "conv1.conv": "{inner} {in} ...",
        "conv1.bn": "{inner}",
        "conv2.conv": "{mid} {fan} ...",
        "conv2.bn": "{mid}",
        "conv3.conv": "{out} {mid} ...",
        "conv3.bn": "{out}",
        **_EXCITE,
    },
    "regnet:PreBottleneck": {
        "norm1": "{in}",
        "conv1": "{inner} {in} ...",
        "norm2": "{inner}",
        "conv2": "{mid} {fan} ...",
        "norm3": "{mid}",
        "conv3": "{out} {mid} ...",
        **_EXCITE,
    },
}


@register_recipe("regnet", *FAMILIES["regnet"])
def regnet(
    model: RegNet,
    resolutions: Sequence[int] | None = None,
    input_size: Size3 | None = None,
) -> Recipe:
    """Recipe for timm's `RegNet`.

    Args:
        model: the network.
        resolutions: choices of the side of the square input, in pixels.
        input_size: (channels, height, width) of the full-size input; by default as the model's configuration says.

    Raises:
        LayoutError: blocks or norms that the recipe doesn't know, or an input that isn't square.
    """
    draft = Draft(model, "regnet")
    draft.add(straight(model.stem, "_"), {"out": "stem"}, "stem")
    width = "stem"
    for stage in range(len(model.feature_info) - 1):
        draft.layout[f"s{stage + 1}"] = f"depth.{stage}"
        block: Any
        for index, block in enumerate(model.get_submodule(f"s{stage + 1}").children()):
            before, width = width, width if isinstance(block.downsample, nn.Identity) else f"width.{stage}"
            _block(draft, f"s{stage + 1}.b{index + 1}", block, f"{stage}.{index}", before, width)
    final = straight(model.final_conv)
    draft.add(final, {"out": "head", "in": width}, "final_conv")
    last = "head" if final else width
    features = pooled(model.head_hidden_size, model.num_features, last)
    draft.layout |= {"head.fc?": f"_ {features}", "head.in_features": last, "head.num_features?": features}
    draft.layout |= {"num_features": last, "head_hidden_size": features}
    dims = {"stem": WIDTH, "width": WIDTH, "mid": WIDTH, "groups": PART, "head": WIDTH, "depth": PART}
    return draft.recipe(dims, input_size, resolutions)


def _block(draft: Draft, path: str, block: Any, place: str, before: str, width: str) -> None:
    table = table_of(block, _BLOCKS, "regnet", path)
    middle = grouped(getattr(block.conv2, "conv", block.conv2), place)
    names = {**middle, "in": before, "out": width, "squeeze": f"squeeze.{place}"}
    if isinstance(getattr(block.se, "fc1", None), nn.Conv2d):
        draft.squeeze(names["squeeze"], block.se.fc1, names["mid"])
    draft.add(table, names, path)
    if block.downsample is not None:
        draft.add(straight(block.downsample), names, f"{path}.downsample")
    if "(" in names["mid"]:
        draft.notes["group width"] = "stays in every block: the number of groups is elastic"
