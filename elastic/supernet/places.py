"""What lies in a folder: a trained supernet, an exported subnet, images; said where another thing was wanted.

Nothing heavy is imported, so that a wrong folder is refused at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, islice
from pathlib import Path

from elastic.errors import CheckpointError
from elastic.supernet.registry import named_supernet
from elastic.support.files import near_folder
from elastic.support.reading import read_json

SUPERNET, SUBNET = "supernet.json", "config.json"
"""The file that a trained supernet's folder has, and an exported subnet's."""
WANTED = {
    SUPERNET: "a supernet's description (elastic fit writes one), or a name that elastic zoo list shows",
    SUBNET: "an exported subnet (elastic extract writes one)",
}
"""What each of them is, for messages."""
KIND = "elastic subnet"
"""What a subnet's file says it is; other libraries have files of that name, too."""
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
"""How the names of images end."""
_LOOKED_AT = 1000
"""So many files of a folder are looked at, at most."""


def check_place(folder: str | Path, file: str, names: Callable[[], Iterable[str]] | None = None) -> None:
    """Check that a folder is there, and isn't one of another kind.

    Args:
        folder: what was given.
        file: which it should have, `SUPERNET` or `SUBNET`.
        names: what else might have been given; None where a folder alone.

    Raises:
        CheckpointError: no such folder, or one without that file that holds something else that is known.
    """
    wanted = WANTED[file]
    if not str(folder):
        raise CheckpointError(f"the name of a folder is empty; wanted {wanted}")
    if file == SUBNET and named_supernet(folder) is not None:
        raise CheckpointError(f"{folder} {_cut_out(folder)}")
    if not Path(folder).exists():
        nor = "" if names is None else ", and no supernet of that name"
        cure = near_folder(folder, file, wanted, () if names is None else names())
        raise CheckpointError(f"there is no folder {folder}{nor}; {cure}")
    if Path(folder).is_dir() and not (Path(folder) / file).exists():
        found = _instead(Path(folder), file)
        if found:
            raise CheckpointError(f"{folder} {found}")


def _instead(folder: Path, file: str) -> str:
    """What a folder holds instead of a file, and what to do; empty where that isn't known."""
    run = Path("runs") / folder.name
    if file == SUBNET and (folder / SUPERNET).is_file():
        return _cut_out(folder)
    if file == SUPERNET and _is_subnet(folder):
        return f'is an exported subnet, not a supernet; elastic.load_subnet("{folder}") opens it'
    if _has_images(folder):
        trained = folder.resolve() != run.resolve() and (run / SUPERNET).is_file()
        return f"holds images; did you mean {run}?" if trained else f"holds images; train on them: elastic fit {folder}"
    return ""


def _cut_out(place: str | Path) -> str:
    return f"is a trained supernet; cut a subnet out first: elastic extract {place} --arch smallest"


def _is_subnet(folder: Path) -> bool:
    try:
        return read_json(folder / SUBNET, CheckpointError, "").get("kind") == KIND
    except CheckpointError:
        return False


def _has_images(folder: Path) -> bool:
    files = chain.from_iterable(folder.glob(pattern) for pattern in ("*", "*/*", "*/*/*"))
    return any(path.suffix.lower() in IMAGES for path in islice(files, _LOOKED_AT))
