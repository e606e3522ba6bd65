"""Whoever reads a file changes nothing: no lock, no cache and no other mode is left beside it."""

from collections.abc import Callable
from pathlib import Path
from shutil import copy

import pytest
from small import SOURCE

from elastic import load_subnet
from elastic.profiles.profile import DeviceProfile
from elastic.searching.result import SearchResult
from elastic.shipping.export import export
from elastic.supernet.folder import load_supernet, read_description, save_supernet
from elastic.supernet.subnet_folder import read_subnet_config
from trainers.cli.arguments import parse_arch

SAMPLES = Path(__file__).parents[1] / "samples"
READERS: dict[str, Callable[[Path], object]] = {
    "supernet": lambda room: load_supernet(room / "run"),
    "supernet's description": lambda room: read_description(room / "run"),
    "subnet": lambda room: load_subnet(room / "sub"),
    "subnet's description": lambda room: read_subnet_config(room / "sub"),
    "profile": lambda room: DeviceProfile.load(room / "profile.json"),
    "search": lambda room: SearchResult.load(room / "search.json"),
    "arch": lambda room: parse_arch(SOURCE.build(), str(room / "arch.json")),
}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder with a file of each kind, which nobody may write."""
    room = tmp_path_factory.mktemp("room")
    supernet = SOURCE.build()
    smallest = supernet.space.smallest
    save_supernet(supernet, SOURCE, room / "run")
    export(supernet.extract(smallest), room / "sub", arch=smallest, source=SOURCE)
    (room / "arch.json").write_text(smallest.to_json())
    for name in ("profile.json", "search.json"):
        copy(SAMPLES / name, room)
    for path in room.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield room
    for path in room.rglob("*"):
        path.chmod(0o755)


@pytest.mark.parametrize("kind", READERS)
def test_reading_leaves_a_folder_as_it_was(kind, room):
    def listed() -> dict[Path, tuple[int, int, int]]:
        found = {path: path.stat() for path in [room, *room.rglob("*")]}
        return {path: (one.st_mode, one.st_mtime_ns, one.st_size) for path, one in found.items()}

    before = listed()
    READERS[kind](room)
    assert listed() == before
