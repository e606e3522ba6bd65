"""Named supernets: builders, cards, checkpoints, importers of published weights.

Public names, listed in `__init__.pyi`, are imported on first use; names and facts are read without PyTorch.
"""

from __future__ import annotations

import lazy_loader

from zoo.catalog import list_supernets as list  # noqa: A004, F401 - read as zoo.list()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__.remove("list_supernets")
__all__.append("list")
