"""Elastic layers: how a module reads the active part of its tensors and numbers, and how that part is cut out."""
