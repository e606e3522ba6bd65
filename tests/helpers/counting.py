"""Slow, obvious references for costs: count one subnet at a time."""

from contextlib import contextmanager

import torch
from torch.backends import mha, mkldnn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from elastic.support.inputs import run_model, tensors_of


class Alive(TorchDispatchMode):
    """After each operator, add up every tensor that depends on the input and is still alive."""

    def __init__(self, x):
        super().__init__()
        self.storages = {}
        self.peak = 0
        for one in tensors_of(x):
            self.follow(one)

    def follow(self, tensor):
        storage = tensor.untyped_storage()
        self.storages.setdefault(storage._weak_ref(), storage.nbytes())

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        known = {torch.UntypedStorage._new_with_weak_ptr(ref)._cdata for ref in self.alive()}
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        out = func(*args, **(kwargs or {}))
        if any(leaf.untyped_storage()._cdata in known for leaf in inputs):
            for leaf in tree_leaves(out):
                if isinstance(leaf, torch.Tensor) and leaf.untyped_storage()._cdata not in known:
                    self.follow(leaf)
        self.peak = max(self.peak, sum(self.storages[ref] for ref in self.alive()))
        return out

    def alive(self):
        return [ref for ref in self.storages if torch.UntypedStorage._new_with_weak_ptr(ref) is not None]


def params_of(subnet):
    return sum(parameter.numel() for parameter in subnet.parameters())


EXPERTS = {}
"""PyTorch's counter leaves these products out; before 2.8 there were none."""
if hasattr(torch.ops.aten, "_grouped_mm"):
    EXPERTS[torch.ops.aten._grouped_mm] = lambda tokens, weights, *_, **__: 2 * tokens[0] * weights[1] * weights[2]


@contextmanager
def unfused():
    mha.set_fastpath_enabled(False)
    mkldnn.enabled = False
    with sdpa_kernel(SDPBackend.MATH):
        yield
    mha.set_fastpath_enabled(True)
    mkldnn.enabled = True


def macs_of(subnet, x):
    counter = FlopCounterMode(display=False, custom_mapping=EXPERTS)
    with torch.no_grad(), unfused(), counter:
        run_model(subnet, x)
    return counter.get_total_flops() // 2


def memory_of(subnet, x):
    with torch.no_grad(), unfused(), Alive(x) as alive:
        run_model(subnet, x)
    return alive.peak
