"""Profiling: a supernet's subnets and blocks measured on this device, and a profile's predictions checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elastic.errors import ProfileError
from elastic.profiles.plan import BLOCKS, Plan, fresh_archs, narrowed, plan_check, plan_profile
from elastic.profiles.profile import DeviceProfile
from elastic.supernet.supernet import Supernet
from elastic.support.progress import progress_bar
from elastic.support.records import from_plain
from elastic.timing.backends import check_setting, fingerprint, prepare_all, torch_threads
from elastic.timing.protocol import Run, journal_path, measure_groups, measurement_journal
from elastic.timing.records import BlockTiming, Conditions, ProfileCheck, SubnetTiming
from elastic.timing.setting import Setting

_SAME_DEVICE = ("processor", "torch", "onnxruntime", "openvino")


def measure_profile(
    supernet: Supernet,
    setting: Setting | None = None,
    subnets: int = 32,
    time_limit: float = 120.0,
    tolerance: float = 0.02,
    seed: int = 0,
    progress: bool = False,
    *,
    blocks: int = BLOCKS,
    resolutions: Sequence[int] = (),
    out: str | Path | None = None,
) -> DeviceProfile:
    """Measure subnets of `supernet`, and its blocks, on this device.

    Args:
        supernet: what to measure; its weights don't matter, and it is left as it was.
        setting: runtime, device, threads, batch size, precision; torch on one thread of the CPU by default.
        subnets: how many whole subnets; the smallest and the largest are always among them.
        time_limit: seconds of measuring. Preparing (exporting to ONNX, above all) comes on top.
        tolerance: a median is good enough if its 95 % interval is narrower than ± this, relative.
        seed: draws the subnets and the order of visits.
        progress: show a progress bar.
        blocks: measure the blocks, too, unless there are more different ones than this.
        resolutions: measure at these resolutions only; at all that the supernet has by default.
        out: the file to write. What is measured so far is kept beside it, and where that is interrupted the same
            call goes on with it.

    Raises:
        ProfileError: a setting that can't be measured here, no subnets, or another measurement's unfinished file.
        ExportError: a runtime that isn't installed, or a subnet that can't be exported to it.
        ArchError: a resolution that isn't on offer.
    """
    setting = setting or Setting()
    check_setting(setting)
    if not time_limit > 0:
        raise ProfileError(f"wanted a time limit above 0 s, got {time_limit}")
    plan = plan_profile(supernet, setting, subnets, blocks, resolutions, seed)
    path = None if out is None else Path(out)
    device = fingerprint(setting)
    groups = _measure(plan, path and journal_path(path), device, time_limit, tolerance, progress)
    profile = assemble(plan.description, groups, device, tolerance)
    if path is not None:
        profile.save(path)
        journal_path(path).unlink()
    return profile


def check_profile(
    supernet: Supernet,
    profile: DeviceProfile,
    n: int = 50,
    time_limit: float = 60.0,
    coverage: float = 0.9,
    seed: int = 1,
    progress: bool = False,
) -> ProfileCheck:
    """Measure fresh random subnets as the profile's were, and compare them with what the profile predicts.

    Args:
        supernet: the profile's.
        profile: measured on this device; it isn't changed (`profile.with_check`).
        n: how many subnets; each dim is uniform over its choices, and none of them is in the profile.
        time_limit: seconds of measuring; preparing comes on top.
        coverage: the share of subnets that predicted intervals should hold.
        seed: draws the subnets and the order of visits.
        progress: show a progress bar.

    Raises:
        ProfileError: another supernet's or device's profile, or no fresh subnets.
        ExportError: as for `measure_profile`.
    """
    profile.check_supernet(supernet)
    check_setting(profile.setting)
    device = fingerprint(profile.setting)
    check_device(profile, _SAME_DEVICE)
    space = narrowed(supernet, profile.resolutions)
    archs = fresh_archs(space, n, seed, [one.arch for one in profile.subnets])
    if len(archs) < 2:
        raise ProfileError(f"a check needs 2 fresh subnets or more; wanted {n}, there are {len(archs)} left")
    predicted = profile.latency_ms(supernet, archs)
    low, high = profile.latency_interval(supernet, archs, coverage)
    plan = plan_check(supernet, profile.setting, archs, seed)
    tolerance = profile.conditions.tolerance
    measured = assemble(
        plan.description, _measure(plan, None, device, time_limit, tolerance, progress), device, tolerance
    )
    timings = {one.arch: one for one in measured.subnets}
    return ProfileCheck(
        tuple(timings[arch] for arch in archs),
        tuple(predicted.round(6).tolist()),
        tuple(zip(low.round(6).tolist(), high.round(6).tolist(), strict=True)),
        coverage,
        measured.conditions,
        device["date"],
    )


def check_device(profile: DeviceProfile, facts: Sequence[str]) -> None:
    """Check that a profile is this device's, by these facts of its fingerprint.

    Raises:
        ProfileError: it isn't.
    """
    here = fingerprint(profile.setting)
    for fact in facts:
        if here.get(fact) != profile.device.get(fact):
            raise ProfileError(
                f"the profile is of another device: its {fact} is {profile.device.get(fact)}, here it is "
                f"{here.get(fact)}; check it where it was measured, or measure a profile here"
            )


def assemble(
    description: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], device: Mapping[str, Any], tolerance: float
) -> DeviceProfile:
    """The profile that a plan's description and the journal of its measurement make.

    Raises:
        ProfileError: candidates without times.
    """
    conditions = Conditions.of(groups, tolerance)
    timings = {
        key: {"milliseconds": times, "pace": pace}
        for group, pace in zip(groups, conditions.paces, strict=True)
        for key, times in group["timings"].items()
    }
    missing = [key for key in (*description["subnets"], *description["blocks"]) if key not in timings]
    if missing:
        raise ProfileError(f"{len(missing)} measurements are missing, {missing[0]} among them; finish measuring")
    return DeviceProfile(
        Setting(**description["setting"]),
        dict(device),
        description["supernet"],
        tuple(from_plain({"arch": arch, **timings[key]}, SubnetTiming) for key, arch in description["subnets"].items()),
        tuple(from_plain({**block, **timings[key]}, BlockTiming) for key, block in description["blocks"].items()),
        tuple(description["resolutions"]),
        conditions,
    )


def _measure(
    plan: Plan,
    unfinished: Path | None,
    device: Mapping[str, Any],
    seconds: float,
    tolerance: float,
    progress: bool,
) -> list[dict[str, Any]]:
    header = {**plan.description, "tolerance": tolerance, "device": {**device, "date": ""}}
    journal = measurement_journal(unfinished, header, ProfileError)

    def prepare(keys: Sequence[str]) -> list[Run]:
        return prepare_all([plan.build(key) for key in keys], plan.setting)

    with torch_threads(plan.setting.threads), progress_bar("measuring", len(plan.keys), progress) as advance:
        measure_groups(
            plan.keys,
            prepare,
            prepare([plan.reference])[0],
            journal,
            seconds=seconds,
            tolerance=tolerance,
            seed=plan.seed,
            together=plan.together,
            advance=advance,
        )
    return journal.entries
