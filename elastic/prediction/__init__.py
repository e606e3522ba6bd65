"""Predictors: a metric of any subnet, from measurements of some."""
