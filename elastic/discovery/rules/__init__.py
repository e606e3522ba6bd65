"""Rules of discovery: how each PyTorch operator relates the axes of its inputs and outputs.

A rule unifies the axes that must be equal and gives those of the output. An operator without one makes all that goes
into it unchangeable.
"""

from elastic.discovery.rules import norms, parts, pointwise, products, reductions, shapes
from elastic.discovery.rules.call import RULES, Call

__all__ = ["RULES", "Call", "norms", "parts", "pointwise", "products", "reductions", "shapes"]
