"""The plan of a profile: the subnets and blocks to measure, and how to build each as a model with inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor, nn

from elastic.errors import ProfileError
from elastic.formats.ordered import names_and_values, ordered
from elastic.profiles.blocks import BlockVariant, build_variant, find_blocks
from elastic.space.arch import Arch
from elastic.space.sampling import corner_rows, distinct_rows, spread_rows
from elastic.space.sizes import Number
from elastic.space.space import Rows, SearchSpace
from elastic.supernet.folder import digest_supernet
from elastic.supernet.supernet import Supernet
from elastic.timing.protocol import TOGETHER
from elastic.timing.setting import Setting

BLOCKS = 512
"""If there are more distinct blocks than this, only whole subnets are measured."""

_MOST_MEMORY, _FEWEST_TOGETHER = 2**30, 4
"""Target of 1 GiB of weights per group, but at least 4 candidates."""


@dataclass(frozen=True)
class Plan:
    """What to measure, by key, such as `subnet:3f9a1b2c` and `block:InvertedResidual-24x56x56-…`.

    Attributes:
        supernet: the supernet they belong to.
        setting: runtime, device, threads, batch size, precision.
        archs: whole subnets, by key; the first is the reference.
        blocks: by key, a variant of a block, with the values of the dims that the block depends on.
        resolutions: resolutions the plan is restricted to; empty means all.
        seed: random seed of inputs, groups and orders.
    """

    supernet: Supernet
    setting: Setting
    archs: dict[str, Arch]
    blocks: dict[str, tuple[BlockVariant, dict[str, Number]]]
    resolutions: tuple[int, ...]
    seed: int

    @property
    def keys(self) -> list[str]:
        """Keys of all candidates."""
        return [*self.archs, *self.blocks]

    @property
    def reference(self) -> str:
        """Key of the reference, which is timed with every group."""
        return next(iter(self.archs))

    @property
    def together(self) -> int:
        """Number of candidates timed as one group, all in memory at once."""
        largest = 4 * int(self.supernet.params([self.supernet.space.largest])[0])
        return max(_FEWEST_TOGETHER, min(TOGETHER, _MOST_MEMORY // largest))

    def build(self, key: str) -> tuple[nn.Module, list[Tensor]]:
        """A candidate as a plain module in evaluation mode, and random inputs for it."""
        if key in self.blocks:
            return build_variant(self.supernet, self.blocks[key][0], self.setting.batch_size, self.seed)
        arch = self.archs[key]
        inputs = self.supernet.example_inputs(arch, self.setting.batch_size, seed=self.seed)
        names, values = names_and_values(inputs)
        return ordered(self.supernet.extract(arch).eval(), names), list(values)

    @cached_property
    def description(self) -> dict[str, Any]:
        """The plan as JSON values, stored with the timings."""
        batch = self.setting.batch_size
        blocks = {
            key: {
                "signature": variant.signature,
                "path": variant.io.path,
                "layer": variant.layer,
                "values": values,
                "shapes": [[batch, *shape] for shape in variant.io.shapes],
            }
            for key, (variant, values) in self.blocks.items()
        }
        return {
            "supernet": digest_supernet(self.supernet),
            "setting": asdict(self.setting),
            "resolutions": list(self.resolutions),
            "seed": self.seed,
            "subnets": {key: dict(arch) for key, arch in self.archs.items()},
            "blocks": blocks,
        }


def plan_profile(
    supernet: Supernet, setting: Setting, subnets: int, blocks: int, resolutions: Sequence[int], seed: int
) -> Plan:
    """Whole subnets from small to large, and all blocks unless there are more than `blocks` different ones.

    Raises:
        ProfileError: `subnets` below 1, or resolutions given for a supernet with a fixed one.
        ArchError: an unavailable resolution.
    """
    if subnets < 1:
        raise ProfileError(f"wanted 1 subnet or more, got {subnets}")
    space = narrowed(supernet, resolutions)
    archs = spread_archs(supernet, subnets, seed, space)
    return Plan(supernet, setting, _by_key(archs), _measured_blocks(supernet, space, blocks), tuple(resolutions), seed)


def plan_check(supernet: Supernet, setting: Setting, archs: Sequence[Arch], seed: int) -> Plan:
    """A plan of whole subnets, ordered by MACs; the smallest is the reference."""
    order = np.argsort(supernet.macs(archs), kind="stable")
    return Plan(supernet, setting, _by_key([archs[at] for at in order]), {}, (), seed)


def narrowed(supernet: Supernet, resolutions: Sequence[int]) -> SearchSpace:
    """The supernet's space, restricted to these resolutions if there are any.

    Raises:
        ProfileError: resolutions given for a supernet with a fixed one.
        ArchError: an unavailable resolution.
    """
    if not resolutions:
        return supernet.space
    if "resolution" not in supernet.space.names:
        raise ProfileError(
            f"can't measure at resolutions {list(resolutions)}: this supernet has but one; leave them out"
        )
    return supernet.space.narrow({"resolution": resolutions})


def spread_archs(supernet: Supernet, n: int, seed: int, space: SearchSpace | None = None) -> list[Arch]:
    """The smallest, the largest, and others evenly spread over MACs between; fewer than `n` if the space has fewer."""
    space = space or supernet.space
    rows = distinct_rows(np.concatenate([corner_rows(space), spread_rows(space, seed, 64 * n)]))
    corners, rest = rows[:2], rows[2:]
    rest = rest[np.argsort(supernet.macs(_widened(supernet, rest, space)), kind="stable")]
    places = np.linspace(0, len(rest) - 1, min(max(n - 2, 0), len(rest))).round().astype(int)
    return space.decode(np.concatenate([corners, rest[np.unique(places)]])[:n])


def fresh_archs(space: SearchSpace, n: int, seed: int, known: Sequence[Mapping[str, Number]]) -> list[Arch]:
    """`n` random archs, none of them `known`, each dim uniform over its choices; fewer if too few are left."""
    rows = space.sample_rows(seed, 16 * n + len(known))
    met = {Arch(dict(one)) for one in known}
    drawn = dict.fromkeys(arch for arch in space.decode(rows) if arch not in met)
    return list(drawn)[:n]


def _widened(supernet: Supernet, rows: Rows, space: SearchSpace) -> Rows:
    return rows if space is supernet.space else supernet.space.widened(rows, space)


def _by_key(archs: Sequence[Arch]) -> dict[str, Arch]:
    return {f"subnet:{arch.id}": arch for arch in archs}


def _measured_blocks(
    supernet: Supernet, space: SearchSpace, most: int
) -> dict[str, tuple[BlockVariant, dict[str, Number]]]:
    """One variant per signature, with its block's dim values; none if there are more than `most` signatures."""
    if not most:
        return {}
    try:
        found = find_blocks(supernet, space)
    except ProfileError:  # one block alone has too many variants
        return {}
    blocks: dict[str, tuple[BlockVariant, dict[str, Number]]] = {}
    for block in found:
        for variant in block.variants:
            if variant is not None and variant.signature:
                values = {name: variant.values[name] for name in block.dims}
                blocks.setdefault(f"block:{variant.signature}", (variant, values))
    return blocks if len(blocks) <= most else {}
