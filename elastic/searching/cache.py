"""A search's cache: the metrics of subnets that were evaluated, in a file, so that a stopped search goes on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from elastic.errors import CheckpointError
from elastic.space.arch import Arch
from elastic.supernet.folder import digest_supernet, digest_weights
from elastic.supernet.supernet import Supernet
from elastic.support.journal import Journal
from elastic.support.records import from_plain

EvaluateArch = Callable[[Arch], Mapping[str, float]]
"""Measures a subnet: metrics by name, such as `{"accuracy": 97.5}`."""

_KIND = "elastic search cache"
PATIENCE = 10.0
"""Seconds to wait for a file that another search holds: workers of one that was killed hold it for a while."""


class Measurements:
    """Measures each subnet once: `measurements(arch)` gives its metrics.

    Args:
        evaluate: measures a subnet.
        known: what was measured before.
        journal: where new metrics go.
        wanted: names of metrics; a subnet that was measured without one of them is measured again.
    """

    def __init__(
        self,
        evaluate: EvaluateArch,
        known: dict[Arch, dict[str, float]] | None = None,
        journal: Journal | None = None,
        wanted: Collection[str] = (),
    ) -> None:
        self.evaluate = evaluate
        self.known = {} if known is None else known
        self.journal = journal
        self.wanted = frozenset(wanted)

    def __call__(self, arch: Arch) -> dict[str, float]:
        """The subnet's metrics by name, measured or remembered."""
        if arch not in self.known or not self.wanted <= self.known[arch].keys():
            metrics = {name: float(value) for name, value in self.evaluate(arch).items()}
            if self.journal is not None:
                self.journal.add({"arch": dict(arch), "metrics": metrics})
            self.known[arch] = metrics
        return self.known[arch]


@contextmanager
def open_measurements(
    evaluate: EvaluateArch, supernet: Supernet, path: str | Path | None, wanted: Collection[str] = ()
) -> Iterator[Measurements]:
    """Measurements that are kept in the file at `path`, where one is given; nobody else has it meanwhile.

    The file is only appended to: a header, which names the supernet's dims and weights, then a line per
    subnet; of two of the same subnet the later one counts. A last line that was cut short is dropped. It can't know
    what `evaluate` does: keep a file for each way of measuring.

    Args:
        evaluate: measures a subnet.
        supernet: whose subnets.
        path: the file; made where it is missing. None: nothing is kept.
        wanted: metrics that a subnet of the file must have, so that it isn't measured again.

    Raises:
        CheckpointError: the file is another supernet's, broken, something else, or another search is writing it.
    """
    if path is None:
        yield Measurements(evaluate, wanted=wanted)
        return
    path = Path(path)
    header = {"kind": _KIND, "supernet": digest_supernet(supernet), "weights": digest_weights(supernet)}
    cure = "name another file, or delete it to measure anew"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        journal = Journal(path, header, CheckpointError, "a search's cache", cure)
        yield Measurements(evaluate, _known(journal, supernet), journal, wanted)


def _locked(path: Path) -> AbstractContextManager[object]:
    """Keeps others off the file: a line that is being written looks like one that was cut short."""
    try:
        return FileLock(f"{path}.lock").acquire(timeout=PATIENCE)
    except Timeout as error:
        raise CheckpointError(f"another search is writing {path}; wait for its end, or name another file") from error


def _known(journal: Journal, supernet: Supernet) -> dict[Arch, dict[str, float]]:
    """The metrics of each subnet in the journal; older ones call them figures."""
    known: dict[Arch, dict[str, float]] = {}
    for at, entry in enumerate(journal.entries, start=2):
        try:
            metrics = entry["metrics"] if "metrics" in entry else entry["figures"]
            known[supernet.space.arch(entry["arch"])] = from_plain(metrics, dict[str, float])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:  # noqa: PERF203 - the message has the line
            wrong = f"{journal.path}, line {at}, is no measured subnet ({error!r})"
            raise CheckpointError(f"{wrong}; delete the line") from error
    return known
