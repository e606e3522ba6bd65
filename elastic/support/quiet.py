"""Converters' notes to their own developers stay out of the user's terminal."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

_LOGGERS = (
    "torch.onnx", "torch.export", "torch.utils", "onnxscript", "onnx_ir", "root", "executorch", "nncf",
    "transformers",
)  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block neither warnings nor progress bars are shown, and of logs only errors."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def mute() -> Iterator[None]:
    """Within the block nothing reaches the error output, not even from C++; exceptions do."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)
