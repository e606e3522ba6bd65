"""What commands are given, as text: budgets, archs, profiles, resolutions."""

from __future__ import annotations

import json
from dataclasses import asdict

from elastic.errors import ArchError, ProfileError
from elastic.profiles.profile import DeviceProfile
from elastic.searching.result import SearchResult
from elastic.space.arch import Arch
from elastic.supernet.supernet import Supernet
from elastic.support.files import read_json
from elastic.support.text import names_in
from elastic.timing.setting import Setting


def parse_resolutions(text: str) -> list[int]:
    """`160,192` as a list.

    Raises:
        ProfileError: not of that form.
    """
    words = names_in(text)
    if not all(word.isdecimal() for word in words):
        raise ProfileError(f"can't read the resolutions {text!r}; write them as 160,192")
    return [int(word) for word in words]


def load_profile(path: str, setting: Setting) -> DeviceProfile:
    """A profile that was measured with `setting`.

    Raises:
        ProfileError: it was measured with another, or isn't one.
    """
    found = DeviceProfile.load(path)
    differing = [name for name, value in asdict(setting).items() if value != getattr(found.setting, name)]
    if differing:
        name = differing[0]
        raise ProfileError(
            f"{path} was measured with {name} {getattr(found.setting, name)}, not {getattr(setting, name)}: "
            f"to check it give --{name} {getattr(found.setting, name)}; to measure anew, another --out"
        )
    return found


def choose_arch(supernet: Supernet, arch: str | None = None, result: str | None = None) -> Arch:
    """The arch that a user names.

    Args:
        supernet: whose arch it must be.
        arch: `smallest`, `largest`, JSON such as `{"depth": 3, …}`, or a file with such JSON.
        result: a search result, whose best arch is taken.

    Raises:
        ArchError: both or neither given, not an arch of this supernet, or another supernet's result.
        CheckpointError: no search result.
    """
    if (arch is None) == (result is None):
        raise ArchError("say which subnet: either --arch (smallest, largest, JSON or a file), or --result search.json")
    if result is not None:
        found = SearchResult.load(result)
        found.check_supernet(supernet)
        return found.best.arch
    assert arch is not None
    if arch in ("smallest", "largest"):
        return supernet.space.smallest if arch == "smallest" else supernet.space.largest
    if not arch.lstrip().startswith("{"):
        arch = json.dumps(read_json(arch, ArchError, "an arch: smallest, largest, JSON, or a file with it"))
    return supernet.space.arch(Arch.from_json(arch))
