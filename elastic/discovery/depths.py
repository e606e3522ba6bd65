"""Depth: containers whose last children can be dropped, because each adds to its input."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from elastic.space.sizes import DimRule

FRACTIONS = (0.5, 0.75, 1.0)


def find_depths(model: nn.Module, residual: Collection[str]) -> dict[str, DimRule]:
    """The choices of depth of each container: how many of its first children run.

    Args:
        model: the model.
        residual: paths of the modules that add to their input: the output has its shape and includes it.

    Returns:
        Container path → choices.
    """
    found = {}
    for path, module in model.named_modules():
        if not isinstance(module, (nn.Sequential, nn.ModuleList)) or not path:
            continue
        names = list(module._modules)
        least = len(names)
        while least > 0 and f"{path}.{names[least - 1]}" in residual:
            least -= 1
        choices = sorted({max(least, 1, -int(-fraction * len(names) // 1)) for fraction in FRACTIONS})
        if len(choices) > 1:
            found[path] = DimRule(tuple(choices))
    return found
