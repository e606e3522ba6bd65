"""The layout: which axis of which tensor has which size; the notation, recipes, and their binding to a model."""
