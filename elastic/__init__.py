"""Train one network once, then cut out an ordinary PyTorch model for every device and every budget."""

from elastic.arch import Arch
from elastic.batchnorm import recalibrate
from elastic.elasticize import elasticize
from elastic.importance import importance
from elastic.recipe import Recipe
from elastic.sizes import Derived, DimRule
from elastic.space import SearchSpace
from elastic.supernet import Supernet

__all__ = [
    "Arch",
    "Derived",
    "DimRule",
    "Recipe",
    "SearchSpace",
    "Supernet",
    "elasticize",
    "importance",
    "recalibrate",
]
