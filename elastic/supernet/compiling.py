"""Compiling a supernet block by block: each kind of block once, for all its widths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from elastic.layers.read_rules import DEPTH, DepthRule
from elastic.supernet.supernet import Supernet

_GRAPHS = 256
"""As many as a model may have kinds of blocks, times the modes (with dropout or without …) that they run in."""


def blocks_of(supernet: Supernet) -> list[nn.Module]:
    """Every block of the elastic containers; the model itself if there are none."""
    containers = [path for path, rules in supernet.layout.rules.items() if isinstance(rules.get(DEPTH), DepthRule)]
    blocks = [child for path in containers for child in supernet.model.get_submodule(path)._modules.values()]
    outermost = [block for block in blocks if block is not None]
    inner = {id(one) for block in outermost for one in block.modules() if one is not block}
    return [block for block in outermost if id(block) not in inner] or [supernet.model]


@contextmanager
def compiled(supernet: Supernet, backend: str | Callable[..., Any] = "inductor") -> Iterator[Supernet]:
    """Within the block, the supernet's blocks run as compiled code; stem, head and the choice of blocks as ever.

    Sizes are read from plain objects and traced as dynamic integers, and what is active of a weight is gathered
    (`elastic.layers.gathering`): blocks of one kind share a graph, at every width. A kind is what the compiler must
    tell
    apart: class, submodules, and plain numbers such as a stride. Nothing falls back to eager mode: what
    can't be compiled is an error of `torch._dynamo`.

    Args:
        supernet: not within `training_in_place`, whose aliases have other strides at each width.
        backend: of `torch.compile`.
    """
    blocks = blocks_of(supernet)
    with _settings():
        try:
            for block in blocks:
                block.compile(backend=backend, dynamic=True, fullgraph=True)
            yield supernet
        finally:
            for block in blocks:
                block._compiled_call_impl = None


@contextmanager
def _settings() -> Iterator[None]:
    """Dynamic sizes for all that is elastic, and only where they are equal for a reason."""
    from torch._dynamo import config
    from torch.fx.experimental import _config as shapes

    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"  # PyTorch before 2.7
    dynamic = {
        limit: _GRAPHS,
        "allow_unspec_int_on_nn_module": True,
        "force_parameter_static_shapes": False,
        "force_nn_module_property_static_shapes": False,
    }
    with config.patch(dynamic), shapes.patch(use_duck_shape=False):  # type: ignore[attr-defined]
        yield
