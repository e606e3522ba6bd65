"""How the tests run: the quick ones always, the long sweeps with `--sweep=all`, what takes longest first."""

import gc
import os

import pytest
import torch
from hypothesis import settings
from onnx_once import onnx_once

EXAMPLES = {"quick": 20, "sweep": 100}
"""Examples of a property test; what `examples.few` marks takes a tenth."""

LONGEST = ("test_documents.py", "test_notebooks.py", "test_resume.py", "test_ranks.py", "test_configs.py")


def pytest_addoption(parser):
    parser.addoption(
        "--sweep",
        metavar="all|PART/PARTS",
        help="all: run everything, on all examples; 3/16: one of sixteen parts of what runs in sweeps only",
    )
    parser.addoption(
        "--cover-every", type=int, default=1, metavar="N",
        help="with --cov: follow every Nth test only; following all of them may take two thirds longer",
    )  # fmt: skip


def pytest_configure(config):
    torch.set_num_threads(1)
    swept = config.getoption("sweep") is not None
    for name, count in EXAMPLES.items():  # the quick ones are the same each time, a sweep draws new ones
        settings.register_profile(name, deadline=None, max_examples=count, derandomize=name == "quick")
    settings.load_profile("sweep" if swept else "quick")


@pytest.fixture(scope="session", autouse=True)
def _onnx_once(tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "onnx"
    folder.mkdir(exist_ok=True)
    with onnx_once(folder):
        yield


def pytest_collection_finish():
    """What was imported stays: looking for garbage in it again and again took a tenth of the tests' time."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config, items):
    part = config.getoption("sweep")
    if part != "all":
        swept = [item for item in items if item.get_closest_marker("sweep")]
        left_out = set(swept) if part is None else set(items) - set(one_part(swept, part))
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]
    for at, item in enumerate(items):
        if at % config.getoption("cover_every"):
            item.add_marker("no_cover")
    items.sort(key=lambda item: item.path.name not in LONGEST)


def one_part(items, part):
    """Every 16th of the items from the third on, where `part` is "3/16"."""
    try:
        first, parts = map(int, part.split("/"))
    except ValueError:
        raise pytest.UsageError(f"--sweep {part}: wanted all, or PART/PARTS, such as 3/16") from None
    return items[first % parts :: parts]
