import os

import torch
from hypothesis import settings

torch.set_num_threads(1)

settings.register_profile("elastic", deadline=None, max_examples=20, derandomize="CI" in os.environ)
settings.load_profile("elastic")


def pytest_collection_modifyitems(items):
    """What takes longest comes first: at the end one process would be left alone with it."""
    items.sort(key=lambda item: item.path.name not in ("test_readme.py", "test_notebooks.py"))
