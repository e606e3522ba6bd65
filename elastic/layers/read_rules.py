"""Read rules: how an elastic layer reads its tensors and numbers through the layout.

Elasticising a module changes its class to a thin subclass in which the attributes that restate a size
(`weight`, `running_mean`, `groups`, `num_heads` …) are properties that read by these rules; `forward` is upstream's,
untouched. The stored parameters, buffers and `state_dict` keys stay those of the plain module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

from torch import Tensor, nn

from elastic.errors import LayoutError
from elastic.layers.aliases import Aliases
from elastic.layers.slicing import TensorAxes, TensorAxis
from elastic.space.sizes import Size, kept_indices

DEPTH = "children"
"""The key of a container's depth rule; the other keys are names of tensors and numbers."""


class Transform(Protocol):
    """Makes an active tensor that slicing alone can't: kernel matrices, resampled position embeddings."""

    def __call__(self, tensor: Tensor, module: nn.Module) -> Tensor:
        """Turn the sliced `tensor` of `module` into the active one; return it unchanged at full size."""

    def setup(self, module: nn.Module) -> None:
        """Register the parameters that the transform needs on `module`."""

    def parameter_names(self) -> tuple[str, ...]:
        """The parameters that `setup` registers. They are trained, and are no part of an extracted model."""


class TensorRule:
    """Reads a parameter or buffer: takes the active slice, transforms it, then scales it for its inputs.

    Attributes:
        fan_in: the inputs' axis by which the tensor is scaled (see `elastic.layout.scaling`); None for no scaling.
        dense: make the slice contiguous. Weight-standardised convolutions reduce over the weight first, and reductions
            over a strided view round differently from the extracted (contiguous) tensor.
    """

    def __init__(self, axes: TensorAxes, transform: Transform | None = None, dense: bool = False) -> None:
        self.axes = axes
        self.transform = transform
        self.dense = dense
        self.fan_in: TensorAxis | None = None
        self.aliases = Aliases()

    def read(self, module: nn.Module, name: str) -> Tensor:
        """The active tensor, differentiable in the full one (through the alias's gradient, if it has an alias)."""
        stored = stored_tensor(module, name)
        part = self.aliases.get(stored)
        if part is None:
            part = self.axes.take(stored)
            part = part.contiguous() if self.dense else part
            part = part if self.transform is None else self.transform(part, module)
        return part if self.fan_in is None else part * (self.fan_in.full / self.fan_in.value) ** 0.5

    @property
    def can_alias(self) -> bool:
        """Whether the active part, before scaling, is a plain view of the stored tensor."""
        return self.transform is None and self.axes.plain


class NumberRule:
    """Reads a plain number, or a tuple of them, that restates sizes."""

    def __init__(self, axes: tuple[TensorAxis, ...], as_tuple: bool) -> None:
        self.axes = axes
        self.as_tuple = as_tuple

    def read(self, module: nn.Module, name: str) -> int | tuple[int, ...]:
        """The active number."""
        if self.as_tuple:
            return tuple([axis.value for axis in self.axes])
        return self.axes[0].value


class PaddingRule:
    """Reads the padding of a "same" convolution: a kernel smaller by 2 needs a padding smaller by one dilation."""

    def __init__(self, padding: tuple[int, ...], dilation: tuple[int, ...], kernel: tuple[TensorAxis, ...]) -> None:
        self.padding = padding
        self.dilation = dilation
        self.kernel = kernel

    def read(self, module: nn.Module, name: str) -> tuple[int, ...]:
        """The active padding, one int per spatial axis."""
        sides = zip(self.padding, self.dilation, self.kernel, strict=True)
        return tuple([pad - (axis.full - axis.value) // 2 * step for pad, step, axis in sides])


class DepthRule:
    """Selects the children of a container that run."""

    def __init__(self, size: Size) -> None:
        self.size = size

    def active(self, module: nn.Module) -> list[nn.Module]:
        """The active children, in order."""
        children = list(module._modules.values())
        kept = kept_indices(self.size.full, self.size.value, self.size.keep)
        return [cast(nn.Module, children[index]) for index in kept]


AttributeRule = TensorRule | NumberRule | PaddingRule
ReadRule = AttributeRule | DepthRule


def has_own_forward(module: nn.Module) -> bool:
    """Whether a convolution overrides PyTorch's `forward`."""
    stock = (nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward)
    return isinstance(module, nn.modules.conv._ConvNd) and type(module).forward not in stock


def stored_tensor(module: nn.Module, name: str) -> Tensor:
    """The full-size parameter or buffer, independent of the active subnet."""
    # KeyError, never AttributeError: nn.Module would answer that one with the full tensor
    stored = module._parameters.get(name)
    return cast(Tensor, module._buffers[name] if stored is None else stored)


def helper_names(rules: Mapping[str, ReadRule]) -> set[str]:
    """Parameters that transforms registered. They are trained, and are no part of an extracted model."""
    transforms = (rule.transform for rule in rules.values() if isinstance(rule, TensorRule))
    return {name for transform in transforms if transform is not None for name in transform.parameter_names()}


def number_rules(module: nn.Module, axes: TensorAxes, entry: str) -> dict[str, ReadRule]:
    """The plain numbers of a standard layer that restate its weight's axes.

    Raises:
        LayoutError: a convolution whose groups or padding can't follow.
    """
    numbers, rules = _numbers(module, axes.axes, entry)
    for name, parts in numbers.items():
        if any(part.sizes for part in parts):
            rules[name] = NumberRule(parts, isinstance(getattr(module, name), tuple))
    return rules


def _numbers(
    module: nn.Module, axis: tuple[TensorAxis, ...], entry: str
) -> tuple[dict[str, tuple[TensorAxis, ...]], dict[str, ReadRule]]:
    """The axes that each number restates, and further rules."""
    match module:
        case nn.Linear():
            return {"out_features": (axis[0],), "in_features": (axis[1],)}, {}
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            groups = _groups(module, axis, entry)
            inputs = TensorAxis(groups.factors + axis[1].factors)
            numbers = {"out_channels": (axis[0],), "in_channels": (inputs,), "groups": (groups,)}
            return {**numbers, "kernel_size": axis[2:]}, _padding(module, axis[2:], entry)
        case nn.modules.conv._ConvTransposeNd():  # (inputs, outputs of each group, ...)
            groups = _groups(module, axis, entry)
            made = TensorAxis(groups.factors + axis[1].factors)
            return {"in_channels": (axis[0],), "out_channels": (made,), "groups": (groups,)}, {}
        case nn.Embedding():
            return {"num_embeddings": (axis[0],), "embedding_dim": (axis[1],)}, {}
    for kind, name in _VECTORS.items():
        if isinstance(module, kind):
            return {name: (axis[0],)}, {}
    return {"normalized_shape": axis} if isinstance(getattr(module, "normalized_shape", None), tuple) else {}, {}


_VECTORS: dict[type[nn.Module], str] = {
    nn.modules.batchnorm._NormBase: "num_features",
    nn.GroupNorm: "num_channels",
    nn.PReLU: "num_parameters",
}
"""Layers with one number, the length of their weight."""


def _groups(conv: nn.Module, axis: tuple[TensorAxis, ...], entry: str) -> TensorAxis:
    groups = cast(int, conv.groups)
    if groups == 1:
        return TensorAxis([1])
    for end in range(1, len(axis[0].factors) + 1):
        lead = TensorAxis(axis[0].factors[:end])
        if lead.full == groups:
            return lead
    if not (axis[0].sizes or axis[1].sizes):
        return TensorAxis([groups])
    raise LayoutError(
        f"layout entry {entry!r}: the convolution has {groups} groups, so the first factors of its first axis "
        f"must be the groups (written (groups width)); they are {axis[0].factors}"
    )


def _padding(conv: nn.Module, kernel: tuple[TensorAxis, ...], entry: str) -> dict[str, ReadRule]:
    padding, dilation = cast("tuple[int, ...] | str", conv.padding), cast("tuple[int, ...]", conv.dilation)
    if not any(axis.sizes for axis in kernel) or isinstance(padding, str):
        return {}
    same = tuple((axis.full - 1) // 2 * step for axis, step in zip(kernel, dilation, strict=True))
    if padding == same:
        return {"padding": PaddingRule(padding, dilation, kernel)}
    if not any(padding) and has_own_forward(conv):
        return {}  # its forward computes the padding from the weight's shape (timm's Conv2dSame)
    raise LayoutError(
        f"layout entry {entry!r}: an elastic kernel needs 'same' padding {same}, the convolution has {padding}"
    )
