"""safetensors: the weights alone, for PyTorch."""

from __future__ import annotations

from pathlib import Path

from elastic.formats.format import Format, Original
from elastic.support.weights import save_weights


def _write(original: Original, path: Path) -> None:
    save_weights(original.model, path)


SAFETENSORS = Format(("model.safetensors",), _write)
