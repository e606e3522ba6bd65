"""Train one network once, then cut out an ordinary PyTorch model for every device and every budget.

Public names, listed in `__init__.pyi`, are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
