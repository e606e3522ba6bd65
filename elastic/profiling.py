"""Profiling: which subnets and blocks are measured, and how they are prepared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elastic.arch import Arch
from elastic.errors import ProfileError
from elastic.extraction import cut_out
from elastic.layout import sizes_of
from elastic.measure import Run, Setting, Timing, fingerprint, prepare, time_runs, torch_threads
from elastic.profile import BlockTiming, DeviceProfile, SubnetTiming
from elastic.progress import progress_bar
from elastic.sampling import corner_rows, distinct_rows, spread_rows
from elastic.storage import digest_supernet
from elastic.supernet import Supernet

_TOGETHER = 16
"""So many subnets are in memory, and timed against each other, at once."""

_IDLE = (nn.Identity, nn.Dropout)
"""Parts that do nothing in inference."""

_BLOCK_SHARE = 0.25
"""The part of the time that goes into blocks."""


def measure_profile(
    supernet: Supernet,
    setting: Setting | None = None,
    subnets: int = 32,
    time_limit: float = 120.0,
    tolerance: float = 0.02,
    seed: int = 0,
    progress: bool = False,
) -> DeviceProfile:
    """Measure subnets of `supernet`, and their blocks, on this device.

    Args:
        supernet: what to measure; its weights don't matter, and it is left as it was.
        setting: runtime, device, threads, batch size, precision; torch on one thread of the CPU by default.
        subnets: how many whole subnets; the smallest and the largest are always among them.
        time_limit: seconds of measuring. Preparing (exporting to ONNX, above all) comes on top.
        tolerance: a median is good enough if its 95 % interval is narrower than ± this, relative.
        seed: draws the subnets and the order of visits.
        progress: show a progress bar.

    Raises:
        ProfileError: a setting that can't be measured here, or no subnets.
        ExportError: a runtime that isn't installed, or a subnet that can't be exported to it.
    """
    setting = setting or Setting()
    setting.check()
    if subnets < 1 or not time_limit > 0:
        raise ProfileError(f"wanted 1 subnet or more and a time limit above 0 s; got {subnets} and {time_limit}")
    archs = choose_archs(supernet, subnets, seed)
    mode = supernet.training
    supernet.eval()
    try:
        with torch_threads(setting.threads), progress_bar("measuring subnets", len(archs), progress) as advance:
            session = _Session(supernet, setting, tolerance, seed)
            timings = session.whole(archs, time_limit * (1 - _BLOCK_SHARE), advance)
            blocks = session.blocks(archs[:2], time_limit * _BLOCK_SHARE)
    finally:
        supernet.train(mode)
    measured = tuple(SubnetTiming(arch, timing) for arch, timing in zip(archs, timings, strict=True))
    return DeviceProfile(setting, fingerprint(setting), digest_supernet(supernet), measured, tuple(blocks))


def choose_archs(supernet: Supernet, n: int, seed: int) -> list[Arch]:
    """The smallest, the largest, and others evenly spread over MACs between them; fewer if there are no `n`."""
    space = supernet.space
    rows = distinct_rows(np.concatenate([corner_rows(space), spread_rows(space, seed, 64 * n)]))
    corners, rest = rows[:2], rows[2:]
    rest = rest[np.argsort(supernet.macs(rest), kind="stable")]
    places = np.linspace(0, len(rest) - 1, min(max(n - 2, 0), len(rest))).round().astype(int)
    return space.decode(np.concatenate([corners, rest[np.unique(places)]])[:n])


@dataclass(frozen=True)
class _Block:
    path: str
    module: nn.Module
    inputs: list[Tensor]
    sizes: dict[str, int]


class _Session:
    def __init__(self, supernet: Supernet, setting: Setting, tolerance: float, seed: int) -> None:
        self.supernet = supernet
        self.setting = setting
        self.tolerance = tolerance
        self.seed = seed

    def whole(self, archs: Sequence[Arch], seconds: float, advance: Callable[[int], None]) -> list[Timing]:
        """Time whole subnets, a group at a time; which is in which group is drawn."""
        order = np.random.default_rng(self.seed).permutation(len(archs))
        timings: dict[int, Timing] = {}
        left = seconds
        for start in range(0, len(order), _TOGETHER):
            group = order[start : start + _TOGETHER]
            runs = []
            for at in group:
                runs.append(self._subnet(archs[at]))
                advance(1)
            began = time.perf_counter()
            share = left * len(group) / (len(order) - start)
            measured = time_runs(runs, share, self.tolerance, self.seed + start)
            left = max(0.0, left - (time.perf_counter() - began))
            timings.update(zip(group.tolist(), measured, strict=True))
        return [timings[at] for at in range(len(archs))]

    def _subnet(self, arch: Arch) -> Run:
        return prepare(self.supernet.extract(arch).eval(), [self._example(arch)], self.setting)

    def _example(self, arch: Arch) -> Tensor:
        shape = (self.setting.batch_size, *self.supernet.input_shape(arch))
        return torch.randn(shape, generator=torch.Generator().manual_seed(self.seed))

    def blocks(self, archs: Sequence[Arch], seconds: float) -> list[BlockTiming]:
        """Time the parts of some subnets, equal ones once."""
        found: dict[str, _Block] = {}
        for arch in archs:
            for block in self._parts(arch):
                shapes = [tuple(value.shape) for value in block.inputs]
                found.setdefault(f"{block.module!r} {shapes}", block)
        parts = list(found.values())
        runs = [prepare(block.module, block.inputs, self.setting) for block in parts]
        timings = time_runs(runs, seconds, self.tolerance, self.seed)
        return [_timed(block, timing) for block, timing in zip(parts, timings, strict=True)]

    def _parts(self, arch: Arch) -> list[_Block]:
        """The subnet's parts with the inputs they get: children of elastic containers, and all around them."""
        inputs: dict[str, list[Tensor]] = {}
        parts = {path: one for path, one in part_modules(self.supernet) if not isinstance(one, _IDLE)}
        with self.supernet.active(arch):
            with ExitStack() as hooks, torch.no_grad():
                for path, module in parts.items():
                    hooks.callback(module.register_forward_pre_hook(_recorder(path, inputs), with_kwargs=True).remove)
                self.supernet(self._example(arch))
            return [_Block(path, cut_out(parts[path]), given, self._sizes(path)) for path, given in inputs.items()]

    def _sizes(self, path: str) -> dict[str, int]:
        rules = self.supernet.layout.rules
        inside = [own for place, own in rules.items() if f"{place}.".startswith(f"{path}.")]
        sizes = {size.name: size.value for own in inside for rule in own.values() for size in sizes_of(rule)}
        return dict(sorted(sizes.items()))


def _recorder(path: str, inputs: dict[str, list[Tensor]]) -> Callable[..., None]:
    """A hook that keeps copies of a module's inputs, for the module may change them in place."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not kwargs and all(isinstance(value, Tensor) for value in args):
            inputs[path] = [value.clone() for value in args]

    return hook


def part_modules(supernet: Supernet) -> Iterator[tuple[str, nn.Module]]:
    """The largest modules with no elastic depth inside, by path: blocks, stem and head, which cover the model."""
    gated = supernet.layout.gates

    def visit(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        if not any(one.startswith(f"{path}.".lstrip(".")) for one in gated):
            yield path, module
            return
        for name, child in module._modules.items():
            if child is not None:
                yield from visit(f"{path}.{name}".lstrip("."), child)

    return visit("", supernet.model)


def _timed(block: _Block, timing: Timing) -> BlockTiming:
    shapes = tuple(tuple(value.shape) for value in block.inputs)
    return BlockTiming(block.path, type(block.module).__name__, block.sizes, shapes, timing)
