"""Packages that not everyone has installed: asked for before anything is written, and named with the cure."""

from __future__ import annotations

from importlib.util import find_spec

from elastic.errors import PackageError

_EXTRAS = {
    "datasets": "nlp",
    "executorch": "executorch",
    "lightning": "train",
    "moocore": "search",
    "nncf": "nncf",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "openvino": "openvino",
    "plotly": "report",
    "pymoo": "search",
    "scipy": "search",
    "sklearn": "search",
    "tensorboard": "train",
    "torchattacks": "robust",
    "torchmetrics": "train",
    "transformers": "nlp",
}
"""Module → the extra of this project that installs it."""


def require_packages(purpose: str, *modules: str) -> None:
    """Check that optional packages are installed.

    Args:
        purpose: what needs them, for the message: "ONNX".
        modules: their modules' names.

    Raises:
        PackageError: one is missing; the message says how to install it.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise _missing(purpose, missing)


def explain_missing(error: ModuleNotFoundError, purpose: str) -> PackageError | None:
    """The cure for an import that failed in what `purpose` names; None if none of this project's extras has it."""
    module = (error.name or "").partition(".")[0]
    return _missing(purpose, [module]) if module in _EXTRAS else None


def _missing(purpose: str, modules: list[str]) -> PackageError:
    extras = ",".join(dict.fromkeys(_EXTRAS[name] for name in modules))
    return PackageError(
        f"{purpose} needs {', '.join(modules)}; install with: pip install 'elastic-supernets[{extras}]'"
    )
