"""The module tree that a layout was bound to: what is replaced or added afterwards is noticed before it does harm."""

from __future__ import annotations

from torch import Tensor, nn

from elastic.errors import LayoutError
from elastic.layers.modules import Elastic
from elastic.layers.read_rules import TensorRule, stored_tensor
from elastic.layout.layout import Layout

_CURE = "do that before elasticize, or on the subnet that is cut out"


class ModelTree:
    """The children of every module, and the shapes of every elastic tensor, at the time when they became elastic."""

    def __init__(self, model: nn.Module, layout: Layout) -> None:
        self.model = model
        self.children = [(module, dict(module._modules)) for module in model.modules()]
        self.shapes = [
            (model.get_submodule(path), path, name, tuple(axis.full for axis in rule.axes.axes))
            for path, rules in layout.rules.items()
            for name, rule in rules.items()
            if isinstance(rule, TensorRule)
        ]

    def check(self) -> None:
        """Check that the layout still describes the model.

        Raises:
            LayoutError: a module with parameters was replaced or added, or a tensor has another shape.
        """
        changed = [(module, children) for module, children in self.children if module._modules != children]
        for module, children in changed:
            self._compare(module, children)
        for module, path, name, shape in self.shapes:
            stored = stored_tensor(module, name)
            if stored.shape != shape and type(stored) in (nn.Parameter, Tensor) and stored.numel():
                where = f"{path}.{name}".lstrip(".")
                raise LayoutError(f"{where} has the shape {tuple(stored.shape)} now, and had {shape} before: {_CURE}")

    def _compare(self, module: nn.Module, before: dict[str, nn.Module | None]) -> None:
        for name in {**before, **module._modules}:
            old, new = before.get(name), module._modules.get(name)
            if old is not new and (_is_elastic(old) or (new is not None and any(True for _ in new.parameters()))):
                path = next((path for path, one in self.model.named_modules() if one is module), "")
                done = "added" if old is None else "removed" if new is None else "replaced"
                raise LayoutError(
                    f"{f'{path}.{name}'.lstrip('.')} was {done} after the model became elastic, and nothing says which "
                    f"of its sizes follow: {_CURE}"
                )


def _is_elastic(module: nn.Module | None) -> bool:
    return module is not None and any(isinstance(one, Elastic) for one in module.modules())
