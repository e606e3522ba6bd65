"""Parsing of commands' arguments: archs, profiles, resolutions; budgets are parsed in `elastic.searching.limits`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elastic.errors import ArchError, ProfileError
from elastic.space.arch import Arch
from elastic.space.sizes import Number
from elastic.support.reading import read_json
from elastic.support.text import names_in, pairs_in
from trainers.jobs.words import check_arch

if TYPE_CHECKING:
    from elastic.profiles.profile import DeviceProfile
    from elastic.supernet.supernet import Supernet


def parse_resolutions(text: str) -> list[int]:
    """Parse `160,192`.

    Raises:
        ProfileError: not of that form.
    """
    words = names_in(text)
    if not all(word.isdecimal() for word in words):
        raise ProfileError(f"can't read the resolutions {text!r}; write them as 160,192")
    return [int(word) for word in words]


def load_profiles(text: str | None, supernet: Supernet) -> dict[str, DeviceProfile]:
    """`profile.json`, or `phone=a.json,cpu=b.json`, by name; a single one's name is empty.

    A folder, or a YAML file, is a latency table of Once-for-All's.

    Raises:
        ProfileError: not of that form, or a file that is no profile.
    """
    return {name: _load_profile(path, supernet) for name, path in profile_paths(text).items()}


def profile_paths(text: str | None) -> dict[str, str]:
    """The files or folders that `load_profiles` reads, by name; a single one's name is empty.

    Raises:
        ProfileError: not of that form.
    """
    pieces = [piece.rpartition("=") for piece in names_in(text or "")]
    if text is not None and not pieces:
        raise ProfileError("--profile is empty: wanted a device profile (elastic profile writes one)")
    if len(pieces) > 1 and not all(name for name, _, _ in pieces):
        raise ProfileError(f"--profile {text}: several profiles need names, as phone=a.json,cpu=b.json")
    return {name: path for name, _, path in pieces}


def check_profiles(text: str | None) -> None:
    """Check that `load_profiles` will find JSON where it is to be; what profiles are made of isn't imported.

    Raises:
        ProfileError: no such file, or something else.
    """
    for path in profile_paths(text).values():
        if not _is_table(path):
            read_json(path, ProfileError, "a device profile (elastic profile writes one)")


def _is_table(path: str) -> bool:
    return Path(path).is_dir() or Path(path).suffix in (".yaml", ".yml")


def _load_profile(path: str, supernet: Supernet) -> DeviceProfile:
    from elastic.profiles.profile import DeviceProfile
    from zoo.published.latency_tables import load_ofa_table

    return load_ofa_table(path, supernet, Path(path).stem) if _is_table(path) else DeviceProfile.load(path)


def choose_subnet(
    supernet: Supernet, arch: str | None = None, result: str | None = None
) -> tuple[Arch, dict[str, Any]]:
    """The arch that a user names, and what a search measured of it: nothing where it wasn't a search's.

    Args:
        supernet: whose it must be.
        arch: as for `parse_arch`.
        result: a search result, whose best subnet is taken.

    Raises:
        ArchError: both or neither given, not an arch of this supernet, or another supernet's result.
        CheckpointError: no search result.
    """
    if result is not None and arch is None:
        from elastic.searching.result import SearchResult

        found = SearchResult.load(result)
        found.check_supernet(supernet)
        return found.best.arch, dict(found.best.metrics)
    if arch is None and result is None and supernet.space.smallest == supernet.space.largest:
        arch = "largest"  # an exported subnet, which is the only one
    if arch is None or result is not None:
        raise ArchError("say which subnet: either --arch (smallest, largest, JSON or a file), or --result search.json")
    return parse_arch(supernet, arch), {}


def parse_arch(supernet: Supernet, arch: str) -> Arch:
    """`smallest`, `largest`, JSON such as `{"depth": 3, …}`, or a file with such JSON as an arch.

    `depth=2,kernel.1.*=3`, or the same as JSON, is the largest arch but for these dims, as `SearchSpace.variant` has
    it. A file has a whole arch.

    Raises:
        ArchError: not an arch of this supernet.
    """
    if arch in ("smallest", "largest"):
        return supernet.space.smallest if arch == "smallest" else supernet.space.largest
    changes = {} if arch.lstrip().startswith("{") or Path(arch).exists() else pairs_in(arch)
    if changes:
        return supernet.space.variant({name: _number(arch, value) for name, value in changes.items()})
    if arch.lstrip().startswith("{"):
        return supernet.space.variant(Arch.from_json(arch))
    return supernet.space.arch(Arch.from_json(json.dumps(check_arch(arch))))


def _number(arch: str, text: str) -> Number:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise ArchError(f"--arch {arch}: {text!r} is no number; write it as depth=2,width=0.5") from None
