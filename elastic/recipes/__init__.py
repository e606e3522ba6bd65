"""Recipes: one short file per family of models, each registered for its classes."""

from elastic.recipe import registry
from elastic.recipes import convnext, efficientnet, regnet, resnet, vit

__all__ = ["convnext", "efficientnet", "registry", "regnet", "resnet", "vit"]
