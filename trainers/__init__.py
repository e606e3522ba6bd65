"""Training of supernets: the Lightning module, curricula, samplers, losses, data and the command line.

Public names, listed in `__init__.pyi`, are imported on first use.
"""

from typing import Any

import lazy_loader

from elastic.support.packages import explain_missing

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _load(name)
    except ModuleNotFoundError as error:
        raise explain_missing(error, f"trainers.{name}") or error from error
