"""Elastic layers: subclasses of plain layers that read their tensors and numbers through the layout."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any, cast

from torch import Tensor, nn

from elastic.layers.read_rules import DEPTH, DepthRule, ReadRule, TensorRule, stored_tensor


def writes_through(module: nn.Module, name: str) -> bool:
    """Whether the active tensor is a view of the stored one, so that writing into it changes the stored one."""
    rule = module._elastic.get(name) if isinstance(module, Elastic) else None
    return not isinstance(rule, TensorRule) or rule.can_alias


def write_active(module: nn.Module, name: str, values: Tensor) -> None:
    """Write the active part of a parameter or buffer, in place."""
    rule = module._elastic.get(name) if isinstance(module, Elastic) else None
    stored = stored_tensor(module, name)
    if isinstance(rule, TensorRule):
        rule.axes.put(stored, values)
    else:
        stored.copy_(values)


class Elastic:
    """Mixin of every elastic layer; `_elastic` holds the read rules by attribute name."""

    _elastic: dict[str, ReadRule]
    _upstream: type[nn.Module]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies and pickles name the upstream class, since elastic classes are created at run time."""
        reduced: Any = super().__reduce_ex__(protocol)
        state = reduced[2]
        if isinstance(self, nn.RNNBase):  # its list of weights holds slices, which are made anew
            state = {**state, "_flat_weights": [self._parameters.get(name) for name in self._flat_weights_names]}
        return _blank, (self._upstream, *_shape(self._elastic)), state, *reduced[3:]


class _ElasticList(Elastic):
    """Depth of `nn.Sequential` and `nn.ModuleList`: iteration, indexing and `len` see the active children only."""

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(cast(DepthRule, self._elastic[DEPTH]).active(cast(nn.Module, self)))

    def __len__(self) -> int:
        return cast(DepthRule, self._elastic[DEPTH]).size.value

    def __getitem__(self, index: int | slice) -> nn.Module:
        children = list(self)
        return self._upstream(*_packed(self, children[index])) if isinstance(index, slice) else children[index]


def _packed(container: object, children: list[nn.Module]) -> tuple[Any, ...]:
    return tuple(children) if isinstance(container, nn.Sequential) else (children,)


class _ActiveChildren:
    """Replaces a container while its forward runs: all of its attributes, but only its active children."""

    def __init__(self, container: nn.Module, rule: DepthRule) -> None:
        self._container = container
        self._rule = rule

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def children(self) -> Iterator[nn.Module]:
        return iter(self._rule.active(self._container))


class _ElasticStage(Elastic):
    """Depth of a module whose forward runs over `self.children()` (RegNet's stages)."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        active = _ActiveChildren(cast(nn.Module, self), cast(DepthRule, self._elastic[DEPTH]))
        return self._upstream.forward(cast(nn.Module, active), *args, **kwargs)


def _property(name: str) -> property:
    def read(self: Any) -> Any:
        return self._elastic[name].read(self, name)

    return property(read)


def _shape(rules: dict[str, ReadRule]) -> tuple[tuple[str, ...], bool]:
    return tuple(sorted(name for name in rules if name != DEPTH)), DEPTH in rules


def _elastic_class(upstream: type[nn.Module], names: tuple[str, ...], depth: bool) -> type[nn.Module]:
    """The elastic subclass; the same object each time, so that a copy has the class of its original."""
    return _subclass(cast(Hashable, upstream), names, depth)


@cache
def _subclass(upstream: Any, names: tuple[str, ...], depth: bool) -> type[nn.Module]:
    listed = issubclass(upstream, (nn.Sequential, nn.ModuleList))
    mixin = (_ElasticList if listed else _ElasticStage) if depth else Elastic
    body: dict[str, Any] = {name: _property(name) for name in names}
    return type(f"Elastic{upstream.__name__}", (mixin, upstream), body | {"_upstream": upstream})


def _blank(upstream: type[nn.Module], names: tuple[str, ...], depth: bool) -> nn.Module:
    cls = _elastic_class(upstream, names, depth)
    return cls.__new__(cls)


def upstream_class(module: nn.Module) -> type[nn.Module]:
    """The class that `module` had before it became elastic."""
    return module._upstream if isinstance(module, Elastic) else type(module)


def make_elastic(module: nn.Module, rules: dict[str, ReadRule]) -> None:
    """Make `module` read by these rules, in place."""
    module._elastic = rules  # type: ignore[assignment]
    module.__class__ = _elastic_class(type(module), *_shape(rules))
    for rule in rules.values():
        if isinstance(rule, TensorRule) and rule.transform is not None:
            rule.transform.setup(module)
