"""Published encodings of a subnet, both ways: Once-for-All's here, DynaBERT's in `zoo.published.dynabert`.

    MobileNetV3, ProxylessNAS  {"ks": [...], "e": [...], "d": [...], "r": 224}
    ResNet50-D                 {"d": [...], "e": [...], "w": [...], "r": 224}

`ks` and `e` are kernel and expansion of each block, `d` is the depth of each stage, in network order. For
ResNet50-D `d` counts the blocks that are added (first the stem's, 0 or 2) and `w` holds indices into the widths
of the stem's inside, the stem and the stages. `r` is the resolution.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timm.models._efficientnet_blocks import InvertedResidual
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import ResNet

from elastic import Arch, Supernet
from elastic.errors import ArchError
from elastic.space.sizes import Number, make_divisible
from zoo.networks.ofa_mobilenetv3 import DEPTHS, EXPANSIONS, KERNELS
from zoo.networks.ofa_resnet import BASE_DEPTHS, STAGES, STEM, WIDTHS
from zoo.networks.ofa_resnet import EXPANSIONS as RATIOS
from zoo.published import dynabert


@dataclass(frozen=True)
class EncodingSlot:
    """Meaning of one entry of an encoding's list.

    Attributes:
        size: name of the size: a dim, or a size that is fixed here or follows a dim.
        written: the published code of each value of the size; other values have none.
        path: path of its block; if depth leaves the block out, the entry's value is ignored.
    """

    size: str
    written: Mapping[Number, Any]
    path: str = ""

    @property
    def matters(self) -> bool:
        """Whether the entry has several values; ProxylessNAS's last stage always has one block."""
        return len(self.written) > 1

    def value(self, said: Any, offered: Iterable[Number], place: str) -> Number:
        """The value on offer that is encoded as `said`.

        Raises:
            ArchError: none is; `place` says where that was read.
        """
        known = {value: self.written[value] for value in offered if value in self.written}
        for value, written in known.items():
            if written == said:
                return value
        raise ArchError(f"{place} = {said!r} isn't on offer; choose one of {list(known.values())}")

    def spell(self, value: Number) -> Any:
        """The published code of a value.

        Raises:
            ArchError: nothing does.
        """
        if value not in self.written:
            raise ArchError(
                f"{self.size} = {value} was never published and can't be written; wanted one of {list(self.written)}, "
                "or the arch as it is"
            )
        return self.written[value]


Lists = Mapping[str, Sequence[EncodingSlot]]
"""The entries of each list, in network order; depths first, since they say which others count."""


def to_arch(supernet: Supernet, published: Mapping[str, Any]) -> Arch:
    """The arch of a published encoding.

    Args:
        supernet: one of Once-for-All's or ProARD's, from `zoo.create`, whose choices may be fewer or coupled; or a
            transformer that reads tokens.
        published: the lists, blocks that depth leaves out included: their entries may be anything; a number instead
            of a list is meant for all of its entries. The resolution `r`, a number or a list of one, is the full one
            where it is missing.

    Raises:
        ArchError: a list that is missing, unknown or of another length, a value that isn't on offer, or a supernet
            that has no published encoding.
    """
    if dynabert.has_encoding(supernet):
        return dynabert.to_arch(supernet, published)
    lists, space = _lists(supernet), supernet.space
    for key, value in published.items():
        if key not in lists and key != "r" and value is not None:
            raise ArchError(f"{key!r} isn't part of this supernet's encoding; it has {', '.join(lists)} and r")
    said = [
        (entry, value, f"{key}[{at}]")
        for key, entries in lists.items()
        for at, (entry, value) in enumerate(zip(entries, _per_entry(published, entries, key), strict=False))
    ]
    values: dict[str, Number] = {}
    for entry, value, place in said:
        if entry.size in space.names and space[entry.size].exists(values):
            values[entry.size] = entry.value(value, space[entry.size].choices, place)
    arch = space.arch(values | _resolution(supernet, published))
    sizes = _sizes(supernet, arch)
    for entry, value, place in said:  # what has no choice, or another one's, must be meant all the same
        if entry.matters and _runs(supernet, entry, sizes):
            entry.value(value, (sizes[entry.size],), place)
    return arch


def from_arch(supernet: Supernet, arch: Mapping[str, Any]) -> dict[str, Any]:
    """The published encoding of an arch; blocks that depth leaves out have the smallest values.

    Raises:
        ArchError: an arch that the supernet doesn't have, or that its encoding can't express: it has a value that was
            never published, or the supernet has more dims.
    """
    if dynabert.has_encoding(supernet):
        return dynabert.from_arch(supernet, arch)
    arch = supernet.space.arch(arch)
    sizes = _sizes(supernet, arch)
    published: dict[str, Any] = {
        key: [
            entry.spell(sizes[entry.size] if _runs(supernet, entry, sizes) else min(entry.written)) for entry in entries
        ]
        for key, entries in _lists(supernet).items()
    }
    return published | ({"r": arch["resolution"]} if "resolution" in arch else {})


def _sizes(supernet: Supernet, arch: Arch) -> dict[str, Number]:
    """Values of the encoded sizes, by name; those of absent blocks may be missing or arbitrary."""
    layout = supernet.layout
    return {name: size.full for name, size in layout.sizes.items()} | dict(arch) | layout.followers(arch)


def _runs(supernet: Supernet, entry: EncodingSlot, sizes: Mapping[str, Number]) -> bool:
    """Whether the arch has the entry's block."""
    return all(gate.passes(sizes[gate.depth]) for gate in supernet.layout.gates_of(entry.path))


def _resolution(supernet: Supernet, published: Mapping[str, Any]) -> dict[str, Any]:
    """The resolution that `r` asks for, where it can be chosen."""
    full = supernet.input_shape(supernet.space.largest)[-1]
    side = published.get("r", full)
    side = side[0] if isinstance(side, Sequence) and len(side) == 1 else side
    if "resolution" in supernet.space.names:
        return {"resolution": side}
    if side != full:
        raise ArchError(f"r = {side!r}, but this supernet has one resolution, {full}; leave r out")
    return {}


def _per_entry(published: Mapping[str, Any], entries: Sequence[EncodingSlot], key: str) -> Sequence[Any]:
    """The values of a list; last ones that don't matter may be missing."""
    given = published.get(key, ())
    if isinstance(given, (int, float)):
        return [given] * len(entries)
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise ArchError(f"{key!r} is {given!r:.60}; wanted a list of numbers, or one number for all")
    least = max(at for at, entry in enumerate(entries, 1) if entry.matters)
    if len(given) not in (least, len(entries)):
        raise ArchError(f"{key!r} has {len(given)} values; wanted {len(entries)}, one for each of {entries[0].size}, …")
    return given


# --- which lists a supernet has -----------------------------------------------------------------------------


def _lists(supernet: Supernet) -> Lists:
    """A supernet's lists.

    Raises:
        ArchError: they can't say all that there is to its subnets.
    """
    model, layout, names = supernet.model, supernet.layout, supernet.space.names
    lists: Lists = {}
    if isinstance(model, ResNet):
        lists = _resnet_lists()
    elif isinstance(model, (EfficientNet, MobileNetV3)):
        lists = _mobile_lists(model)
    entries = [entry for one in lists.values() for entry in one]
    offered: dict[str, tuple[Number, ...]] = {name: (size.full,) for name, size in layout.sizes.items()}
    offered |= {dim.name: dim.choices for dim in layout.uncoupled}
    said = all(set(entry.written) & set(offered.get(entry.size, ())) for entry in entries)
    if not entries or not said or set(names) - {"resolution", *(entry.size for entry in entries)}:
        raise ArchError(
            f"this supernet has no published encoding; an arch says it all, by its dims: {', '.join(names[:3])}, …"
        )
    return lists


def _mobile_lists(model: EfficientNet | MobileNetV3) -> Lists:
    stages = {stage: list(blocks.children()) for stage, blocks in enumerate(model.blocks.children())}
    stages = {stage: blocks for stage, blocks in stages.items() if isinstance(blocks[0], InvertedResidual)}
    places = {
        f"{stage}.{index}": block
        for stage, blocks in stages.items()
        for index, block in enumerate(blocks)
        if isinstance(block, InvertedResidual)
    }
    return {
        "d": [
            EncodingSlot(f"depth.{stage}", _same(DEPTHS if len(blocks) > 1 else (1,)))
            for stage, blocks in stages.items()
        ],
        "ks": [EncodingSlot(f"kernel.{place}", _same(KERNELS), f"blocks.{place}") for place in places],
        "e": [
            EncodingSlot(
                f"mid.{place}", {block.conv_pw.in_channels * one: one for one in EXPANSIONS}, f"blocks.{place}"
            )
            for place, block in places.items()
        ],
    }


def _resnet_lists() -> Lists:
    stages, ratios = tuple(enumerate(STAGES)), tuple(enumerate(WIDTHS))
    widths = {"stem": STEM[-1]} | {f"width.{stage}": full.width for stage, full in stages}
    blocks = [(stage, block) for stage, full in stages for block in range(len(full.mids))]
    return {
        "d": [
            EncodingSlot("depth.stem", {0: 0, 1: 2}),
            *(
                EncodingSlot(f"depth.{stage}", {least + added: added for added in range(3)})
                for stage, least in enumerate(BASE_DEPTHS)
            ),
        ],
        "e": [
            EncodingSlot(f"expand.{stage}.{block}", _same(RATIOS), f"layer{stage + 1}.{block}")
            for stage, block in blocks
        ],
        "w": [
            EncodingSlot("ratio.stem", {ratio: at for at, ratio in ratios}),
            *(
                EncodingSlot(name, {int(make_divisible(full * ratio, 8)): at for at, ratio in ratios})
                for name, full in widths.items()
            ),
        ],
    }


def _same(values: Sequence[Number]) -> dict[Number, Number]:
    """Values that stand for themselves."""
    return {value: value for value in values}
