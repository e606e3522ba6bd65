"""ConvNeXt V1 and V2 of timm.

Elastic: expansion (`hidden`) and depthwise kernel of each block, stage widths, depth of each stage, resolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from elastic.layout.recipe import Recipe, register_recipe
from elastic.recipes.convnets import Draft, Table, table_of
from elastic.space.sizes import KERNEL, PART, WIDTH
from elastic.upstream.families import FAMILIES
from elastic.upstream.library import Size3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elastic.upstream.families import ConvNeXt

_BLOCKS: dict[str, Table] = {
    "convnext:ConvNeXtBlock": {
        "conv_dw": "{out} 1 {kernel} {kernel}",
        "norm": "{out}",
        "mlp.fc1": "{hidden} {out} ...",
        "mlp.grn?": "{hidden}",
        "mlp.fc2": "{out} {hidden} ...",
        "gamma?": "{out}",
    }
}


@register_recipe("convnext", *FAMILIES["convnext"])
def convnext(
    model: ConvNeXt,
    resolutions: Sequence[int] | None = None,
    input_size: Size3 | None = None,
) -> Recipe:
    """Recipe for timm's `ConvNeXt`.

    Args:
        model: the network.
        resolutions: choices of the side of the square input, in pixels.
        input_size: (channels, height, width) of the full-size input; by default as the model's configuration says.

    Raises:
        LayoutError: blocks or norms that the recipe doesn't know, or an input that isn't square.
    """
    draft = Draft(model, "convnext")
    width = _stem(draft, model.stem)
    module: Any
    for stage, module in enumerate(model.stages.children()):
        before = width
        if not isinstance(module.downsample, nn.Identity):
            width = f"width.{stage}"
        names = {"in": before, "out": width}
        draft.add({"downsample.0?": "{in}", "downsample.1?": "{out} {in} ..."}, names, f"stages.{stage}")
        draft.layout[f"stages.{stage}.blocks"] = f"depth.{stage}"
        for index, block in enumerate(module.blocks):
            path, place = f"stages.{stage}.blocks.{index}", f"{stage}.{index}"
            table = table_of(block, _BLOCKS, "convnext", path)
            side = block.conv_dw.kernel_size[0]
            kernel = f"kernel.{place}" if side % 2 else str(side)
            draft.add(table, {**names, "hidden": f"hidden.{place}", "kernel": kernel}, path)
    _head(draft, model, width)
    dims = {"stem": WIDTH, "width": WIDTH, "hidden": WIDTH, "kernel": KERNEL, "head": WIDTH, "depth": PART}
    return draft.recipe(dims, input_size, resolutions)


def _stem(draft: Draft, stem: nn.Sequential) -> str:
    """One patch convolution, or two overlapping ones; then a norm."""
    convolutions = [name for name, child in stem.named_children() if isinstance(child, nn.Conv2d)]
    before = "_"
    for name in convolutions:
        out = "width.0" if name == convolutions[-1] else "stem"
        draft.layout[f"stem.{name}"] = f"{out} {before} ..."
        before = out
    draft.layout[f"stem.{len(stem) - 1}"] = before
    return before


def _head(draft: Draft, model: ConvNeXt, width: str) -> None:
    last = "head" if getattr(model.head, "hidden_size", None) else width
    draft.layout |= {
        "norm_pre?": width,
        "head.norm?": width,
        "head.pre_logits.fc?": f"head {width} ...",
        "head.hidden_size?": "head",
        "head.fc?": f"_ {last} ...",
        "head.in_features": width,
        "head.num_features?": last,
        "num_features": width,
        "head_hidden_size": last,
    }
