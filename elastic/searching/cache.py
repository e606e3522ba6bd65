"""What evaluating subnets gave, remembered and kept in a file, so that a search that was cut short goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from elastic.errors import CheckpointError
from elastic.space.arch import Arch
from elastic.supernet.folder import digest_supernet, digest_weights
from elastic.supernet.supernet import Supernet

Evaluate = Callable[[Arch], Mapping[str, float]]
"""Measures a subnet: figures by name, such as `{"accuracy": 97.5}`."""

_KIND = "elastic search cache"
_PATIENCE = 10.0
"""Seconds to wait for a file that another search holds: workers of one that was killed hold it for a while."""


class Measurements:
    """Measures each subnet once: `measurements(arch)` gives its figures.

    Args:
        evaluate: measures a subnet.
        known: what was measured before.
        file: where new figures are appended, a line of JSON each.
        wanted: names of figures; a subnet that was measured without one of them is measured again.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        known: dict[Arch, dict[str, float]] | None = None,
        file: TextIO | None = None,
        wanted: Collection[str] = (),
    ) -> None:
        self.evaluate = evaluate
        self.known = {} if known is None else known
        self.file = file
        self.wanted = frozenset(wanted)

    def __call__(self, arch: Arch) -> dict[str, float]:
        """The subnet's figures by name, measured or remembered."""
        if arch not in self.known or not self.wanted <= self.known[arch].keys():
            figures = {name: float(value) for name, value in self.evaluate(arch).items()}
            if self.file is not None:
                self.file.write(json.dumps({"arch": dict(arch), "figures": figures}) + "\n")
                self.file.flush()
            self.known[arch] = figures
        return self.known[arch]


@contextmanager
def open_measurements(
    evaluate: Evaluate, supernet: Supernet, path: str | Path | None, wanted: Collection[str] = ()
) -> Iterator[Measurements]:
    """Measurements that are kept in the file at `path`, where one is given; nobody else has it meanwhile.

    The file is only appended to: a header, which names the supernet's dims and weights, then a line per
    subnet; of two of the same subnet the later one counts. A last line that was cut short is dropped. It can't know
    what `evaluate` does: keep a file for each way of measuring.

    Args:
        evaluate: measures a subnet.
        supernet: whose subnets.
        path: the file; made where it is missing. None: nothing is kept.
        wanted: figures that a subnet of the file must have, so that it isn't measured again.

    Raises:
        CheckpointError: the file is another supernet's, broken, something else, or another search is writing it.
    """
    if path is None:
        yield Measurements(evaluate, wanted=wanted)
        return
    path = Path(path)
    header = {"kind": _KIND, "supernet": digest_supernet(supernet), "weights": digest_weights(supernet)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        known = _read(path, header, supernet)
        with path.open("a", encoding="utf-8") as file:
            if file.tell() == 0:
                file.write(json.dumps(header) + "\n")
                file.flush()
            yield Measurements(evaluate, known, file, wanted)


def _locked(path: Path) -> AbstractContextManager[object]:
    """Keeps others off the file: a line that is being written looks like one that was cut short."""
    try:
        return FileLock(f"{path}.lock").acquire(timeout=_PATIENCE)
    except Timeout as error:
        raise CheckpointError(f"another search is writing {path}; wait for its end, or name another file") from error


def _read(path: Path, header: Mapping[str, str], supernet: Supernet) -> dict[Arch, dict[str, float]]:
    """What the file holds; a line that was cut short at its end is cut off."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if not whole and not json.dumps(header).encode().startswith(content):
        raise CheckpointError(f"{path} isn't the cache of a search; name another file")
    lines = whole.splitlines()
    if lines:
        _check(path, _parsed(path, 1, lines[0]), header)
    known = {}
    for at, line in enumerate(lines[1:], start=2):
        values = _parsed(path, at, line)
        try:
            known[supernet.space.arch(values["arch"])] = dict(values["figures"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}, line {at}, is no measured subnet ({error!r}); delete the line") from error
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return known


def _parsed(path: Path, at: int, line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise CheckpointError(f"{path}, line {at}, isn't JSON ({error}); is it the cache of a search?") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}, line {at}, is a {type(values).__name__}; wanted a JSON object")
    return values


def _check(path: Path, found: Mapping[str, Any], header: Mapping[str, str]) -> None:
    if found.get("kind") != _KIND:
        raise CheckpointError(f"{path} isn't a search's cache: its kind is {found.get('kind')!r}, wanted {_KIND!r}")
    for part, what in (("supernet", "other dims or shapes"), ("weights", "the same dims, other weights")):
        if found.get(part) != header[part]:
            raise CheckpointError(
                f"{path} is the cache of another supernet ({what}): {found.get(part)}, this one is {header[part]}; "
                "name another file, or delete it to measure anew"
            )
