"""Installed versions of the libraries that models depend on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_PACKAGES = {"elastic": "elastic-supernets", "torch": "torch", "timm": "timm", "transformers": "transformers"}


def library_versions() -> dict[str, str]:
    """The installed versions of this project, torch, timm and transformers, by name; none of them is imported."""
    found = {name: _installed(package) for name, package in _PACKAGES.items()}
    return {name: number for name, number in found.items() if number is not None}


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
