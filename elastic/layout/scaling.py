"""Width scaling: weights that compensate for the inputs that a narrow subnet lacks.

A sum over fewer inputs is smaller. If `n` of `N` inputs are active, the weight is multiplied by √(N / n) when it is
read. Outputs, and their change in a step of gradient descent, are then about as large at every width. Tensor Programs
IV and V ask this of a layer (Yang and Hu, arXiv:2011.14522; Yang et al., arXiv:2203.03466),
and in short the spectral condition (Yang, Simon and Bernstein, arXiv:2310.17813). At full width the factor is 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from torch import nn

from elastic.layers.read_rules import ReadRule, TensorRule

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def scale_weights(model: nn.Module, rules: Mapping[str, Mapping[str, ReadRule]]) -> None:
    """Scale the weight of every linear layer and convolution with an elastic number of inputs (per group).

    Biases aren't scaled, nor is a weight that several modules share (a tied embedding), since it is stored and
    extracted once.

    Args:
        model: not yet elastic; it is not changed.
        rules: by module path and tensor name; the rules of scaled weights get a `fan_in`.
    """
    owners = Counter(id(weight) for module in model.modules() for weight in module._parameters.values())
    for path, own in rules.items():
        module, rule = model.get_submodule(path), own.get("weight")
        if isinstance(module, _LAYERS) and isinstance(rule, TensorRule) and owners[id(module.weight)] == 1:
            inputs = rule.axes.axes[1]  # (outputs, inputs per group, ...)
            rule.fan_in = inputs if inputs.sizes else None
