"""Recipes: one short file per family of models, each registered for its classes."""

from elastic.recipe import registry
from elastic.recipes import vit

__all__ = ["registry", "vit"]
