"""The named supernets: which there are, and how each is built."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from elastic import Supernet
from elastic.errors import RecipeError
from zoo.ofa_mobilenetv3 import ofa_mobilenetv3
from zoo.ofa_proxyless import ofa_proxyless
from zoo.ofa_resnet import ofa_resnet
from zoo.preprocessing import describe_images

_BUILDERS: dict[str, Callable[..., Supernet]] = {
    "ofa_mbv3_d234_e346_k357_w1.0": partial(ofa_mobilenetv3, 1.0),
    "ofa_mbv3_d234_e346_k357_w1.2": partial(ofa_mobilenetv3, 1.2),
    "ofa_proxyless_d234_e346_k357_w1.3": partial(ofa_proxyless, 1.3),
    "ofa_resnet50": ofa_resnet,
}


def list_supernets() -> list[str]:
    """The names that `create` knows."""
    return sorted(_BUILDERS)


def create(name: str, **options: Any) -> Supernet:
    """A named supernet with fresh weights, its largest subnet active.

    Args:
        name: one of `zoo.list()`.
        options: the builder's own, such as `resolutions=[160, 192, 224]`.

    Raises:
        RecipeError: no supernet of this name.
    """
    if name not in _BUILDERS:
        raise RecipeError(f"the zoo has no supernet {name!r}; it has {', '.join(list_supernets())}")
    supernet = _BUILDERS[name](**options)
    describe_images(supernet.model, supernet.recipe.input_size[-1], name)
    return supernet
