"""The norms that a perturbation of an image is measured by."""

from typing import Literal

Norm = Literal["linf", "l2"]
