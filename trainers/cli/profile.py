"""`elastic profile`: measure how long subnets and their blocks take on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from rich import get_console
from typing_extensions import Unpack

from elastic.errors import ProfileError
from elastic.profiles.kit import read_measured, write_kit
from elastic.profiles.measuring import check_profile, measure_profile
from elastic.profiles.plan import BLOCKS
from elastic.profiles.profile import DeviceProfile
from elastic.reporting.tables import profile_table
from elastic.supernet.folder import load_supernet
from elastic.supernet.supernet import Supernet
from elastic.support.packages import require_packages
from elastic.timing.backends import check_setting
from elastic.timing.records import QUIET
from elastic.timing.setting import Setting
from trainers.cli.arguments import load_profile, parse_resolutions


def profile(
    supernet: str,
    out: str = "profile.json",
    runtime: str | None = None,
    device: str = "cpu",
    threads: int = 1,
    batch_size: int = 1,
    precision: str = "float32",
    resolutions: str = "",
    subnets: int = 32,
    blocks: int = BLOCKS,
    time_limit: float = 120.0,
    seed: int = 0,
    check: int = 0,
    accept_noise: bool = False,
    kit: str | None = None,
    **measured: Unpack[_Import],
) -> None:
    """Measure how long subnets and their blocks take on this device.

    Interrupted, the same command goes on where it stopped. A measurement that is too noisy to be trusted is written
    all the same, but ends with exit status 1.

    Args:
        supernet: a trained supernet's folder; or a name that elastic zoo list shows, for its pretrained weights.
        out: the JSON file to write; with --check, one that is there is checked.
        runtime: torch (eager; the default), torch.compile, onnxruntime or openvino; of a kit onnxruntime only.
        device: cpu or cuda.
        threads: threads within an operator, on the CPU.
        batch_size: inputs per forward pass.
        precision: float32; with torch or torch.compile also float16 or bfloat16, with openvino bfloat16.
        resolutions: measure at these only, such as 160,192; at all by default.
        subnets: how many whole subnets to measure.
        blocks: measure the blocks, too, unless there are more different ones than this.
        time_limit: seconds of measuring; preparing comes on top.
        seed: draws the subnets and the order of measuring.
        check: measure so many fresh random subnets, and compare them with what the profile predicts; not of a kit.
        accept_noise: end well even if the measurement is noisy.
        kit: don't measure; write a folder with models and a script that measures them with onnxruntime elsewhere.
        measured: `import`, as its class says.
    """
    setting = Setting(runtime or ("torch" if kit is None else "onnxruntime"), device, threads, batch_size, precision)
    require_packages("elastic profile", "sklearn")
    check_setting(setting)
    if kit is not None and (check or "import" in measured):
        raise ProfileError("a kit is measured elsewhere, by its measure.py; give --import and --check when it is back")
    trained = load_supernet(supernet)
    chosen: dict[str, Any] = {"subnets": subnets, "time_limit": time_limit, "blocks": blocks, "seed": seed}
    chosen |= {"resolutions": parse_resolutions(resolutions), "progress": True}
    if kit is not None:
        folder = write_kit(trained, kit, setting, **chosen)
        get_console().print(f"kit: {folder}; on the device, run its measure.py", highlight=False, soft_wrap=True)
        return
    if "import" in measured:
        found = read_measured(trained, measured["import"])
    elif check and Path(out).exists():
        found = load_profile(out, setting)
    else:
        found = measure_profile(trained, setting, out=out, **chosen)
    if check:
        found = found.with_check(check_profile(trained, found, check, time_limit, seed=seed + 1, progress=True))
    found.save(out)
    _show_profile(found, trained, out)
    if not (found.good or accept_noise):
        raise SystemExit(1)


_Import = TypedDict("_Import", {"import": str}, total=False)


def _show_profile(found: DeviceProfile, supernet: Supernet, out: str) -> None:
    console = get_console()
    console.print(profile_table(found, supernet))
    console.print(f"profile: {out}", highlight=False, soft_wrap=True)
    if found.objections:
        console.print(f"noisy: {'; '.join(found.objections)}. {QUIET}", style="red", highlight=False, soft_wrap=True)
