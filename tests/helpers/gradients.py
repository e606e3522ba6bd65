"""Gradients of supernets over some of their subnets, and whether two are the same."""

import torch


def gradients(supernet, archs, x):
    for arch in archs:
        supernet.activate(arch)
        supernet(x).square().mean().backward()
    return {name: None if p.grad is None else p.grad.clone() for name, p in supernet.named_parameters()}


def same(one, other):
    for name in one:
        zero = torch.zeros(())
        a, b = (zero if g[name] is None else g[name] for g in (one, other))
        assert torch.equal(a.expand_as(b) if a.ndim == 0 else a, b.expand_as(a) if b.ndim == 0 else b), name
