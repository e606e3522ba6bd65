"""Elastic layers: the plain layer, whose tensors and numbers are read through the layout."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any, cast

from torch import Tensor, nn

from elastic.layers.rules import DEPTH, DepthRule, Rule, TensorRule, stored_tensor


def writes_through(module: nn.Module, name: str) -> bool:
    """Whether what is written into the active tensor arrives in the stored one: whether it is a view of that."""
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
    """Mixin of every elastic layer; `_elastic` holds the rules, by attribute name."""

    _elastic: dict[str, Rule]
    _upstream: type[nn.Module]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies and pickles name the upstream class: elastic classes are made at run time."""
        reduced: Any = super().__reduce_ex__(protocol)
        return _blank, (self._upstream, *_shape(self._elastic)), *reduced[2:]


class _ElasticList(Elastic):
    """Depth of `nn.Sequential` and `nn.ModuleList`: whoever iterates, indexes or counts sees the active children."""

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
    """Stands in for a container while its forward runs: everything of it, but only its active children."""

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
        stand_in = _ActiveChildren(cast(nn.Module, self), cast(DepthRule, self._elastic[DEPTH]))
        return self._upstream.forward(cast(nn.Module, stand_in), *args, **kwargs)


def _property(name: str) -> property:
    def read(self: Any) -> Any:
        return self._elastic[name].read(self, name)

    return property(read)


def _shape(rules: dict[str, Rule]) -> tuple[tuple[str, ...], bool]:
    return tuple(sorted(name for name in rules if name != DEPTH)), DEPTH in rules


def _elastic_class(upstream: type[nn.Module], names: tuple[str, ...], depth: bool) -> type[nn.Module]:
    """The elastic subclass; the same one each time, so that copies have the class of what they copy."""
    return _made(cast(Hashable, upstream), names, depth)


@cache
def _made(upstream: Any, names: tuple[str, ...], depth: bool) -> type[nn.Module]:
    listed = issubclass(upstream, (nn.Sequential, nn.ModuleList))
    mixin = (_ElasticList if listed else _ElasticStage) if depth else Elastic
    body: dict[str, Any] = {name: _property(name) for name in names}
    return type(f"Elastic{upstream.__name__}", (mixin, upstream), body | {"_upstream": upstream})


def _blank(upstream: type[nn.Module], names: tuple[str, ...], depth: bool) -> nn.Module:
    made = _elastic_class(upstream, names, depth)
    return made.__new__(made)


def upstream_class(module: nn.Module) -> type[nn.Module]:
    """The class that `module` had before it became elastic."""
    return module._upstream if isinstance(module, Elastic) else type(module)


def make_elastic(module: nn.Module, rules: dict[str, Rule]) -> None:
    """Give `module` its rules, in place."""
    module._elastic = rules  # type: ignore[assignment]
    module.__class__ = _elastic_class(type(module), *_shape(rules))
    for rule in rules.values():
        if isinstance(rule, TensorRule) and rule.transform is not None:
            rule.transform.setup(module)
