"""Objectives of a search and names of metrics, checked before anything is opened, and again before measuring."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, get_args

from elastic.errors import BudgetError
from elastic.searching.limits import COSTS, latency_name
from elastic.support.text import did_you_mean
from trainers.data.metric_names import MetricName

if TYPE_CHECKING:
    from elastic.profiles.profile import DeviceProfile

Profiles: TypeAlias = "Mapping[str, DeviceProfile]"
"""Device profiles by name; a single one's name is empty."""


@dataclass(frozen=True)
class Goals:
    """Objectives and budget of a search.

    Attributes:
        budget: the largest values allowed, by metric.
        maximize: metrics, separated by commas; those of the judge by default.
        minimize: likewise; latencies where there are profiles, else MACs.
        profiles: device profiles, which predict latencies.
    """

    budget: Mapping[str, float]
    maximize: str | None
    minimize: str | None
    profiles: Profiles


def metrics_on_offer(profiles: Collection[str], attacked: bool, measured: Iterable[str] = ()) -> tuple[str, ...]:
    """The names of metrics that a search can go by.

    Args:
        profiles: the devices' names; a single one's is empty.
        attacked: whether the accuracy under attack is measured.
        measured: what the data is judged by, where that is known; else everything that data may be judged by.
    """
    judged = tuple(measured) or (*get_args(MetricName), *(["robust"] if attacked else []))
    return (*judged, *map(latency_name, profiles), *COSTS[1:])


def check_names(option: str, names: Iterable[str], offered: Collection[str]) -> None:
    """Check that metrics exist.

    Args:
        option: where they are named, for the message.
        names: of the metrics.
        offered: those there are.

    Raises:
        BudgetError: one doesn't exist, or needs an option that isn't given.
    """
    for name in names:
        if name in offered:
            continue
        cure = did_you_mean(name, offered, f"there are {', '.join(offered)}")
        if name == "robust":
            cure = "the accuracy under attack is measured with --robust, such as --robust 8/255"
        elif name.partition(".")[0] == COSTS[0] and not any(one.startswith(COSTS[0]) for one in offered):
            cure = "it needs a device profile: make one with `elastic profile`, and give it with --profile"
        raise BudgetError(f"{option} {name}: no such metric here; {cure}")
