"""Mobile networks of timm: MobileNetV2 and V3, EfficientNet V1 and V2, MNASNet, FBNet and their relatives.

Elastic: expansion (`mid`) and kernel of each block, stem, stage and head widths, depth of each stage,
resolution; the reduced width of squeeze-and-excitation follows the expansion.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from elastic.errors import LayoutError
from elastic.layout.notation import ANY
from elastic.layout.recipe import Recipe, register_recipe
from elastic.recipes.convnets import Draft, Table, grouped, pooled, table_of
from elastic.recipes.kernels import LARGEST, KernelTransform
from elastic.space.sizes import KERNEL, PART, WIDTH
from elastic.upstream.families import FAMILIES
from elastic.upstream.library import Size3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elastic.upstream.families import EfficientNet, MobileNetV3

_EXCITE: Table = {
    "se.conv_reduce?": "{squeeze} {mid} ...",
    "se.conv_expand?": "{mid} {squeeze} ...",
    "se.fc1?": "{squeeze} {mid} ...",
    "se.fc2?": "{mid} {squeeze} ...",
    "aa?": "{mid} ...",
    "aa.channels?": "{mid}",
}
_BLOCKS: dict[str, Table] = {
    "_efficientnet_blocks:InvertedResidual": {
        "conv_pw": "{mid} {in} ...",
        "bn1": "{mid}",
        "conv_dw": "{mid} {fan} {kernel} {kernel}",
        "bn2": "{mid}",
        "conv_pwl": "{out} {mid} ...",
        "bn3": "{out}",
        **_EXCITE,
    },
    "_efficientnet_blocks:DepthwiseSeparableConv": {
        "conv_dw": "{mid} {fan} {kernel} {kernel}",
        "bn1": "{mid}",
        "conv_pw": "{out} {mid} ...",
        "bn2": "{out}",
        **_EXCITE,
    },
    "_efficientnet_blocks:EdgeResidual": {
        "conv_exp": "{mid} {in} ...",
        "bn1": "{mid}",
        "conv_pwl": "{out} {mid} ...",
        "bn2": "{out}",
        **_EXCITE,
    },
    "_efficientnet_blocks:ConvBnAct": {
        "conv": "{out} {in} ...",
        "bn1": "{out}",
        "aa?": "{out} ...",
        "aa.channels?": "{out}",
    },
}


@register_recipe("efficientnet", *FAMILIES["efficientnet"])
def efficientnet(
    model: EfficientNet | MobileNetV3,
    resolutions: Sequence[int] | None = None,
    input_size: Size3 | None = None,
    kernel_transforms: bool = False,
) -> Recipe:
    """Recipe for timm's `EfficientNet` and `MobileNetV3`.

    Args:
        model: the network.
        resolutions: choices of the side of the square input, in pixels.
        input_size: (channels, height, width) of the full-size input; by default as the model's configuration says.
        kernel_transforms: compute small kernels by Once-for-All's learned matrices instead of a centre crop.

    Raises:
        LayoutError: blocks or norms that the recipe doesn't know, or an input that isn't square.
    """
    draft = Draft(model, "efficientnet", layout={"conv_stem": "stem ...", "bn1": "stem"})
    width = "stem"
    for stage, child in enumerate(model.blocks.children()):
        blocks: list[Any] = list(child.children())
        if all(block.has_skip for block in blocks[1:]):
            draft.layout[f"blocks.{stage}"] = f"depth.{stage}"
        else:
            draft.notes[f"depth of stage {stage}"] = "fixed: it has blocks without a skip connection"
        for index, block in enumerate(blocks):
            before = width
            if not block.has_skip:
                width = f"width.{stage}.{index}" if index else f"width.{stage}"
            _block(draft, block, stage, index, before, width)
    _head(draft, model, width)
    dims = {"stem": WIDTH, "width": WIDTH, "mid": WIDTH, "groups": PART, "head": WIDTH, "depth": PART}
    kernel = replace(KERNEL, keep="transform") if kernel_transforms else KERNEL
    recipe = draft.recipe({**dims, "kernel": kernel}, input_size, resolutions)
    return _with_matrices(recipe, model) if kernel_transforms else recipe


def _block(draft: Draft, block: Any, stage: int, index: int, before: str, width: str) -> None:
    path, place = f"blocks.{stage}.{index}", f"{stage}.{index}"
    table = table_of(block, _BLOCKS, "efficientnet", path)
    names = {"in": before, "out": width, "mid": f"mid.{place}", "squeeze": f"squeeze.{place}"}
    depthwise = getattr(block, "conv_dw", None)
    if isinstance(depthwise, nn.Conv2d):
        side = depthwise.kernel_size[0]
        names["kernel"] = f"kernel.{place}" if side % 2 else str(side)
        names |= grouped(depthwise, place)
    else:
        names |= {"kernel": ANY, "fan": ANY}
    if "conv_dw" in table and "conv_pw" in table and "conv_pwl" not in table:
        if names["fan"] != "1":
            raise LayoutError(f"the efficientnet recipe needs a depthwise convolution at {path!r}")
        names["mid"] = before  # no expansion: the block's own input goes through the depthwise convolution
    reduce = getattr(block, "se", None)
    reduce = getattr(reduce, "conv_reduce", None) or getattr(reduce, "fc1", None)
    if reduce is not None:
        draft.squeeze(names["squeeze"], reduce, names["mid"])
    draft.add(table, names, path)


def _head(draft: Draft, model: EfficientNet | MobileNetV3, width: str) -> None:
    """The widening before the classifier: ahead of the pooling in EfficientNet, behind it in MobileNetV3."""
    full, hidden = cast(int, model.num_features), cast(int, model.head_hidden_size)
    last = "head" if isinstance(model.conv_head, nn.Conv2d) else width
    before, features, number = width, pooled(hidden, full, last), last
    if hasattr(model, "norm_head"):
        before, features, number = pooled(_inputs(model.conv_head, full), full, width), last, width
    draft.layout |= {
        "conv_head?": f"{last} {before} ...",
        "bn2?": last,
        "norm_head?": last,
        "classifier?": f"_ {features}",
        "num_features": number,
        "head_hidden_size": features,
    }


def _inputs(layer: nn.Module, default: int) -> int:
    return layer.in_channels if isinstance(layer, nn.Conv2d) else default


def _with_matrices(recipe: Recipe, model: nn.Module) -> Recipe:
    entries = [key for key in recipe.layout if key.endswith(".conv_dw")]
    for entry in entries:
        kernel = model.get_submodule(entry).kernel_size
        if kernel[0] > LARGEST:  # type: ignore[index]
            raise LayoutError(f"{entry}: kernel transforms are for kernels up to {LARGEST}, this one is {kernel}")
    return replace(recipe, transforms=dict.fromkeys(entries, KernelTransform()))
