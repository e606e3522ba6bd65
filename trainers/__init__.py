"""How a supernet learns: the Lightning module, curricula, samplers, losses, data and the command line.

Public names, listed in `__init__.pyi`, are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
