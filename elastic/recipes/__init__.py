"""Recipes: one short file for each family of models, registered for its classes."""

from elastic.layout.recipe import registry
from elastic.recipes import bert, convnext, efficientnet, llama, regnet, resnet, resnetv2, vit

__all__ = ["bert", "convnext", "efficientnet", "llama", "registry", "regnet", "resnet", "resnetv2", "vit"]
