"""Knowledge of timm and transformers, kept in one place.

library.py              the questions about a model, with the answers for ordinary PyTorch modules
timm.py                 the answers for models of timm
transformers.py         the answers for models of transformers
families.py             which recipe is for which classes, and those classes as types
building.py             models by name
versions.py             which versions are installed
loader.py               how an exported folder builds its model: used here, and copied into each export
input_normalization.py  a model whose first convolution normalises its images
"""

from torch import nn

from elastic.upstream.library import Library
from elastic.upstream.timm import Timm
from elastic.upstream.transformers import Transformers

__all__ = ["Library", "library_of"]

_LIBRARIES: dict[str, type[Library]] = {one.name: one for one in (Timm, Transformers)}


def library_of(model: nn.Module) -> Library:
    """The model as its library describes it; its class, or one that it inherits from, says which library that is."""
    roots = (cls.__module__.partition(".")[0] for cls in type(model).__mro__)
    return next((_LIBRARIES[root] for root in roots if root in _LIBRARIES), Library)(model)
