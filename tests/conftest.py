import os

import torch
from hypothesis import settings

torch.set_num_threads(1)

settings.register_profile("elastic", deadline=None, max_examples=20, derandomize="CI" in os.environ)
settings.load_profile("elastic")
