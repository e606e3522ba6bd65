"""The names of metrics that validation may go by."""

from typing import Literal

MetricName = Literal["accuracy", "f1", "matthews", "pearson", "spearman"]
"""Top-1 accuracy; F1 of class 1 of two; Matthews' correlation; and, of numbers, Pearson's and Spearman's."""
