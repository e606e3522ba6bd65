"""Once-for-All's own latency tables: a latency for each operator signature, in YAML or JSON.

A network takes the sum of its operators, whose signatures
`elastic.profiles.published_names` knows. Source: the files of
mit-han-lab/once-for-all (Cai et al., ICLR 2020).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from elastic.errors import ProfileError
from elastic.profiles.block_table import check_complete
from elastic.profiles.blocks import BlockVariant, distinct_variants, find_blocks
from elastic.profiles.plan import narrowed
from elastic.profiles.profile import DeviceProfile
from elastic.profiles.published_names import naming
from elastic.supernet.folder import digest_supernet
from elastic.supernet.supernet import Supernet
from elastic.support.reading import read_json, read_yaml
from elastic.timing.records import BlockTiming
from elastic.timing.setting import Setting

_WANTED = "a latency table of Once-for-All (operator signature → milliseconds)"
_SUFFIXES = (".json", ".yaml", ".yml")
_STEM = re.compile(r"Conv-input:(\d+)x\1x")


def load_ofa_table(path: str | Path, supernet: Supernet, device: str = "") -> DeviceProfile:
    """One of Once-for-All's latency tables as a profile of `supernet`.

    Args:
        path: a file with signatures, or with signatures by resolution; or a folder with a file per resolution.
            YAML or JSON; a latency is a number or has a `mean`. The same signature at several resolutions is the
            same operator: the median counts.
        supernet: a MobileNetV3 or ProxylessNAS built of timm's blocks, such as `zoo.create` gives.
        device: its name, for reports.

    Returns:
        A profile with blocks and no whole subnets, of those of the supernet's resolutions that the table has.

    Raises:
        ProfileError: a missing, truncated or foreign file; a signature that the supernet needs and the table lacks.
    """
    latencies = _read(Path(path))
    name = naming(latencies)
    if name is None:
        raise ProfileError(f"{path} isn't {_WANTED}: its first entry is {next(iter(latencies), None)!r}")
    resolutions = _resolutions(latencies, supernet, path)
    found = find_blocks(supernet, narrowed(supernet, resolutions), name)
    wanted = distinct_variants(found)
    check_complete(wanted, latencies, str(path))
    blocks = tuple(_block(variant, latencies[one]) for one, variant in wanted.items())
    described = {"processor": device or "unknown", "cores": "unknown", "table": Path(path).name}
    profile = DeviceProfile(Setting("unknown"), described, digest_supernet(supernet), (), blocks, tuple(resolutions))
    profile.keep_blocks(found)
    return profile


def _block(variant: BlockVariant, milliseconds: list[float]) -> BlockTiming:
    shapes = tuple((1, *shape) for shape in variant.io.shapes)
    return BlockTiming(
        variant.signature, variant.io.path, variant.layer, dict(variant.values), shapes, tuple(milliseconds)
    )


def _resolutions(latencies: Iterable[str], supernet: Supernet, path: str | Path) -> list[int]:
    """The supernet's resolutions for which the table has a stem."""
    if "resolution" not in supernet.space.names:
        return []
    there = {int(stem[1]) for one in latencies if (stem := _STEM.match(one))}
    offered = [int(choice) for choice in supernet.space["resolution"].choices]
    shared = [choice for choice in offered if choice in there]
    if not shared:
        raise ProfileError(
            f"{path} has resolutions {sorted(there)}, the supernet {offered}; build it with one that both have"
        )
    return shared


# --- files --------------------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, list[float]]:
    """All latencies of each signature, in milliseconds."""
    files = sorted(one for one in path.iterdir() if one.suffix in _SUFFIXES) if path.is_dir() else [path]
    latencies: dict[str, list[float]] = {}
    for file in files:
        values = _load(file)
        nested = all(isinstance(one, dict) and "mean" not in one for one in values.values())
        for table in values.values() if nested else [values]:
            for signature, given in table.items():
                latencies.setdefault(str(signature), []).append(_latency(file, signature, given))
    return latencies


def _load(file: Path) -> dict[str, Any]:
    if file.suffix == ".json":
        return read_json(file, ProfileError, _WANTED)
    return read_yaml(file, ProfileError, _WANTED)


def _latency(file: Path, signature: str, given: Any) -> float:
    value = given.get("mean") if isinstance(given, dict) else given
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ProfileError(f"{file}: {signature!r} has {given!r}; wanted milliseconds above 0, or their `mean`")
    return float(value)
