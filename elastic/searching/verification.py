"""Re-measure a search's front: latency end to end, accuracy on images the search did not use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from elastic.errors import ElasticError
from elastic.profiles.measuring import check_device
from elastic.profiles.plan import plan_check
from elastic.profiles.profile import DeviceProfile
from elastic.searching.cache import EvaluateArch
from elastic.searching.result import EvaluatedSubnet, SearchResult
from elastic.space.arch import Arch
from elastic.supernet.supernet import Supernet
from elastic.support.progress import progress_bar
from elastic.timing.backends import check_setting, prepare_all, torch_threads
from elastic.timing.protocol import Timing, time_runs


def remeasure_front(
    supernet: Supernet,
    result: SearchResult,
    evaluate: EvaluateArch | None = None,
    profile: DeviceProfile | None = None,
    subnets: int = 8,
    seconds: float = 20.0,
    seed: int = 0,
    progress: bool = False,
    latency: str = "latency_ms",
) -> SearchResult:
    """Re-measure the best subnet and others on the front; predictions are kept beside the measurements.

    Args:
        supernet: the supernet that was searched.
        result: the result of `elastic.search`.
        evaluate: measures a subnet on data that the search did not use, such as a `MeasuredAccuracy` on test images.
        profile: profile of this device; its setting is used for timing.
        subnets: number of subnets, spread evenly over the front; the best is always among them.
        seconds: time spent on timing, all subnets together.
        seed: random seed of the order of timing.
        progress: show a progress bar.
        latency: metric name for the latency, such as `latency_ms.phone` after a search with several profiles.

    Returns:
        A copy of `result` with `measured` filled in for the chosen candidates (latency in ms, and the metrics from
        `evaluate`).

    Raises:
        ArchError: the result belongs to another supernet.
        ProfileError: the profile belongs to another supernet or another device.
    """
    result.check_supernet(supernet)
    if profile is not None:
        profile.check_supernet(supernet)
        _check_here(profile)
    chosen = spread(result, subnets)
    measured: dict[Arch, dict[str, float]] = {one.arch: {} for one in chosen}
    with progress_bar("measuring the front again", len(chosen), progress) as advance:
        for one in chosen:
            if evaluate is not None:
                measured[one.arch].update({name: float(value) for name, value in evaluate(one.arch).items()})
            advance(1)
    if profile is not None:
        for one, timing in zip(chosen, time_subnets(supernet, chosen, profile, seconds, seed), strict=True):
            measured[one.arch][latency] = timing.median_ms
    candidates = (replace(one, measured={**one.measured, **measured.get(one.arch, {})}) for one in result.candidates)
    return replace(result, candidates=tuple(candidates))


verify = remeasure_front
"""The former name."""


def spread(result: SearchResult, n: int) -> list[EvaluatedSubnet]:
    """The best candidate and up to `n - 1` others, evenly along the front, in its order."""
    front = result.front
    places = np.unique(np.linspace(0, len(front) - 1, min(max(n - 1, 0), len(front))).round().astype(int))
    chosen = {front[at].arch: front[at] for at in places} | {result.best.arch: result.best}
    order = {one.arch: at for at, one in enumerate(front)}
    return sorted(chosen.values(), key=lambda one: order.get(one.arch, len(order)))


def time_subnets(
    supernet: Supernet, chosen: Sequence[EvaluatedSubnet], profile: DeviceProfile, seconds: float, seed: int = 0
) -> list[Timing]:
    """Time subnets end to end against each other, in the profile's setting."""
    plan = plan_check(supernet, profile.setting, [one.arch for one in chosen], seed)
    with torch_threads(profile.setting.threads):
        runs = prepare_all([plan.build(key) for key in plan.keys], profile.setting)
        timings = dict(zip(plan.archs.values(), time_runs(runs, seconds, tolerance=0.01, seed=seed), strict=True))
    return [timings[one.arch] for one in chosen]


def is_here(profile: DeviceProfile) -> bool:
    """Whether a profile was measured on this device, with a setting that is available here."""
    try:
        _check_here(profile)
    except ElasticError:
        return False
    return True


def _check_here(profile: DeviceProfile) -> None:
    check_setting(profile.setting)
    check_device(profile, ("processor", "cores"))
