"""Recipes: one short file per family of models, each registered for its classes."""

from elastic.recipe import registry
from elastic.recipes import bert, convnext, efficientnet, llama, regnet, resnet, resnetv2, traced, vit

__all__ = ["bert", "convnext", "efficientnet", "llama", "registry", "regnet", "resnet", "resnetv2", "traced", "vit"]
