"""Shared by tests and conformance: models with random weights throughout, and sliced networks as masked ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from elastic.layers.modules import upstream_class
from elastic.layers.read_rules import TensorRule, stored_tensor
from elastic.layout.layout import free_dims, sizes_of
from elastic.space.arch import Arch
from elastic.space.sizes import Number
from elastic.supernet.supernet import Supernet


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in evaluation mode, all its weights and running statistics drawn at random, outputs of a usual size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.parameters():
            centre, scale = (1.0, 0.2) if tensor.ndim == 1 else (0.0, max(tensor[0].numel(), 1) ** -0.5)
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * scale + centre)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.2)
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model.eval()


# --- sliced = masked ------------------------------------------------------------------------------------------------


def masked(supernet: Supernet, arch: Mapping[str, Number]) -> nn.Module:
    """The full network, zero where `arch` leaves something out of a parameter; a plain model.

    It gives what the subnet of `arch` gives, up to rounding, if that is `maskable`: that active and extracted subnets
    agree can't show a number that both read wrongly, and this can.
    """
    full = supernet.extract(supernet.space.largest)
    done: set[int] = set()  # tied weights once
    with torch.no_grad(), supernet.active(arch):
        for path, rules in supernet.layout.rules.items():
            module, plain = supernet.model.get_submodule(path), full.get_submodule(path)
            for name, rule in rules.items():
                parameter = plain._parameters.get(name)
                if not isinstance(rule, TensorRule) or parameter is None or id(parameter) in done:
                    continue
                done.add(id(parameter))
                mask = torch.zeros_like(stored_tensor(module, name))
                rule.axes.put(mask, torch.ones(tuple(axis.value for axis in rule.axes.axes)))
                parameter.mul_(mask)
    return full


def maskable(supernet: Supernet, arch: Mapping[str, Number]) -> Arch:
    """The arch, full in what zeros can't stand for.

    These are depth and resolution, sizes that a norm spans (it divides by what is there), and those of tensors that
    are transformed rather than cut.
    """
    kept = {dim.name for dim in supernet.space.dims if dim.kind in ("depth", "resolution")}
    for path, rules in supernet.layout.rules.items():
        spanned = _is_norm(supernet.model.get_submodule(path))
        for rule in rules.values():
            if spanned or (isinstance(rule, TensorRule) and rule.transform is not None):
                for size in sizes_of(rule):
                    kept |= {size.name, *free_dims(size.name, supernet.layout.derived)}
    chosen = {dim.name: dim.full if dim.name in kept else arch.get(dim.name, dim.full) for dim in supernet.space.dims}
    return supernet.space.arch(chosen)


_NORMS = ("Norm", "StdConv")
"""What the name of a module has that divides by statistics of its channels, or of its weight."""


def _is_norm(module: nn.Module) -> bool:
    alone = isinstance(module, nn.modules.batchnorm._NormBase)  # of each channel alone
    return not alone and any(word in upstream_class(module).__name__ for word in _NORMS)
