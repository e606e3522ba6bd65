"""Once-for-All's names of operators, for the blocks of MobileNetV3 and ProxylessNAS as timm builds them.

    expanded_conv-input:112x112x24-output:56x56x32-expand:72-kernel:3-stride:2-idskip:0-se:0-hs:0
    expanded_conv-input:112x112x16-output:56x56x24-expand:6-kernel:5-stride:2-idskip:0

The first is one of MobileNetV3's, where `expand` is the middle width; the second one of ProxylessNAS's, where it is a
ratio. Source: the latency tables of mit-han-lab/once-for-all (Cai et al., ICLR 2020).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from elastic.profiles.blocks import Name
from elastic.profiles.calls import BlockIO, Shape


def naming(signatures: Iterable[str]) -> Name | None:
    """The naming function for these signatures: MobileNetV3's or ProxylessNAS's; None if they are neither's."""
    blocks = [one for one in signatures if one.startswith("expanded_conv-input:")]
    if not blocks:
        return None
    return mobilenetv3_signature if "-se:" in blocks[0] else proxyless_signature


def mobilenetv3_signature(module: nn.Module, io: BlockIO) -> str:
    """A block's signature in a table of MobileNetV3; empty if another entry includes its time, as for norms."""
    if type(module).__name__ == "SelectAdaptivePool2d":
        channels = io.shapes[0][0]
        return f"AvgPool2D-input:{_side(io.shapes[0])}-output:1x1x{channels}"
    if isinstance(module, nn.Linear):
        return f"Logits-input:1x1x{module.in_features}-output:{module.out_features}"
    if not hasattr(module, "conv_dw"):
        return _convolution(module, io)
    excited = int(hasattr(module, "se") and not isinstance(module.se, nn.Identity))
    swish = int("swish" in type(_activation(module)).__name__.lower())
    return f"{_block_signature(module, io, _middle(module))}-se:{excited}-hs:{swish}"


def proxyless_signature(module: nn.Module, io: BlockIO) -> str:
    """A block's signature in a table of ProxylessNAS, whose entry for the classifier includes the pooling."""
    if isinstance(module, nn.Linear):
        return f"Logits-input:7x7x{module.in_features}-output:{module.out_features}"
    if not hasattr(module, "conv_dw"):
        return _convolution(module, io)
    return _block_signature(module, io, round(_middle(module) / io.shapes[0][0]))


def _convolution(module: nn.Module, io: BlockIO) -> str:
    """A convolution outside the blocks: the first, the last before the pooling, the one behind it."""
    convolution = getattr(module, "conv", module)
    if not isinstance(convolution, nn.Conv2d):
        return ""
    given = io.shapes[0]
    place = "Conv" if given[0] == 3 else "Conv_2" if given[1:] == (1, 1) else "Conv_1"
    return f"{place}-input:{_side(given)}-output:{_side(io.output)}"


def _block_signature(block: Any, io: BlockIO, expand: int) -> str:
    kernel, stride = block.conv_dw.kernel_size[0], block.conv_dw.stride[0]
    shapes = f"input:{_side(io.shapes[0])}-output:{_side(io.output)}"
    return f"expanded_conv-{shapes}-expand:{expand}-kernel:{kernel}-stride:{stride}-idskip:{int(block.has_skip)}"


def _middle(block: Any) -> int:
    return int(block.conv_dw.out_channels)


def _activation(block: Any) -> nn.Module:
    found: nn.Module = block.bn1.act
    return found


def _side(shape: Shape) -> str:
    """`HxWxC`, as the tables write it."""
    channels, height, width = shape
    return f"{height}x{width}x{channels}"
