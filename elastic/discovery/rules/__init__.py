"""Rules of discovery: how each PyTorch operator relates the axes of its inputs and outputs.

A rule unifies the axes that must be equal and returns those of the output. The inputs of an operator without a rule
can't change.
"""

from elastic.discovery.rules import norms, parts, pointwise, products, reductions, shapes
from elastic.discovery.rules.call import RULES, Call

__all__ = ["RULES", "Call", "norms", "parts", "pointwise", "products", "reductions", "shapes"]
