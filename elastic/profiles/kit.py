"""A kit: models as ONNX files and one script, to be measured where this project can't be installed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elastic.errors import ProfileError
from elastic.formats.onnx_files import write_onnx_files
from elastic.profiles import kit_script
from elastic.profiles.measuring import assemble
from elastic.profiles.plan import BLOCKS, Plan, plan_profile
from elastic.profiles.profile import DeviceProfile
from elastic.supernet.supernet import Supernet
from elastic.support import files, journal, reading
from elastic.support.files import staged, write_json
from elastic.support.progress import progress_bar
from elastic.support.reading import read_json
from elastic.timing import protocol
from elastic.timing.backends import check_setting
from elastic.timing.setting import Setting

_KIND = "elastic measuring kit"

_README = """# A measuring kit

{models} models in {size:.0f} MB: measure them on the device that they are for. It needs Python 3.10, numpy and
onnxruntime, and takes about {minutes:.0f} min.

    pip install numpy onnxruntime
    python measure.py --threads 1

Leave the device alone meanwhile. Interrupted, the same command goes on where it stopped. It writes
`measured.json`: bring that back, and where the supernet is

    elastic profile import SUPERNET measured.json --out profile.json
"""


def write_kit(
    supernet: Supernet,
    folder: str | Path,
    setting: Setting | None = None,
    subnets: int = 32,
    time_limit: float = 120.0,
    tolerance: float = 0.02,
    seed: int = 0,
    progress: bool = False,
    *,
    blocks: int = BLOCKS,
    resolutions: Sequence[int] = (),
) -> Path:
    """Write what `measure_profile` would measure as a folder, whole or not at all.

    Args:
        supernet: what is to be measured; its weights are in the files, but don't matter.
        folder: must not be there yet, or be empty.
        setting: onnxruntime on the CPU, in float32; the number of threads can be changed on the device.
        subnets: as for `measure_profile`, and so are the others.
        time_limit: seconds of measuring, unless the device is told otherwise.
        tolerance: when a median is good enough.
        seed: draws the subnets and the order of visits.
        progress: show a progress bar.
        blocks: the blocks, too, unless there are more different ones than this.
        resolutions: at these only.

    Raises:
        ProfileError: another setting, no subnets, or a folder that isn't empty.
        ExportError: ONNX isn't installed, or can't express a subnet.
        ArchError: a resolution that isn't on offer.
    """
    setting, folder = setting or Setting("onnxruntime"), Path(folder).resolve()
    check_setting(setting)
    if (setting.runtime, setting.device) != ("onnxruntime", "cpu"):
        raise ProfileError(
            f"a kit is measured by onnxruntime on a CPU, not by {setting.runtime} on {setting.device}; "
            "leave runtime and device out"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProfileError(f"{folder} isn't empty; write the kit into a new folder")
    plan = plan_profile(supernet, setting, subnets, blocks, resolutions, seed)
    with staged(folder.parent) as stage:
        kit = stage / folder.name
        values = {
            "kind": _KIND,
            **plan.description,
            "time_limit": time_limit,
            "tolerance": tolerance,
            "together": plan.together,
            "reference": plan.reference,
            "files": _write_models(plan, kit, progress),
        }
        write_json(kit / "kit.json", values)
        (kit / "measure.py").write_text(stand_alone(), encoding="utf-8")
        size = sum(path.stat().st_size for path in kit.rglob("*.onnx")) / 1e6
        text = _README.format(models=len(plan.keys), size=size, minutes=max(1.0, time_limit / 60))
        (kit / "README.md").write_text(text, encoding="utf-8")
    return folder


def stand_alone() -> str:
    """The kit's script: what its program needs, and below it the program, which then needn't import it."""
    imports = re.compile(r"^from (__future__|elastic\.[\w.]+) import (\([^)]*\)|.*)\n", re.MULTILINE)
    sources = map(inspect.getsource, (files, reading, journal, protocol, kit_script))
    return "from __future__ import annotations\n\n" + "\n".join(imports.sub("", source) for source in sources)


def _write_models(plan: Plan, kit: Path, progress: bool) -> dict[str, str]:
    """Each candidate's file, relative to the kit."""
    files = {key: f"{kind}s/{name}.onnx" for key in plan.keys for kind, _, name in [key.partition(":")]}
    for kind in ("subnets", "blocks"):
        (kit / kind).mkdir(parents=True)
    with progress_bar("writing models", len(files), progress) as advance:
        for start in range(0, len(files), plan.together):
            keys = plan.keys[start : start + plan.together]
            write_onnx_files([plan.build(key) for key in keys], [kit / files[key] for key in keys])
            advance(len(keys))
    return files


def read_measured(supernet: Supernet, path: str | Path) -> DeviceProfile:
    """The profile that a kit's `measured.json` makes.

    Args:
        supernet: the one that the kit was written from.
        path: the file, or the kit's folder with it inside.

    Raises:
        ProfileError: a file that is missing, truncated or something else; unfinished; or another supernet's.
    """
    path = Path(path)
    path = path / "measured.json" if path.is_dir() else path
    if not path.exists() and protocol.journal_path(path).exists():
        raise ProfileError(f"{path} isn't there yet: measuring was interrupted; run measure.py again, it goes on")
    values = read_json(path, ProfileError, "a kit's measurements (its measure.py writes them)")
    if values.get("kind") != kit_script.MEASURED_KIND:
        raise ProfileError(f"{path} isn't a kit's measurements: its kind is {values.get('kind')!r}")
    profile = _assembled(path, values)
    profile.check_supernet(supernet)
    return profile


def _assembled(path: Path, values: dict[str, Any]) -> DeviceProfile:
    try:
        return assemble(values, values["groups"], values["device"], float(values["tolerance"]))
    except ProfileError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ProfileError(f"{path} is broken ({error!r}); measure again") from error
