"""Finding the subnet of a named supernet that equals one of Once-for-All's specialised networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elastic import Arch, Supernet
from elastic.errors import ArchError, CheckpointError
from elastic.shipping.card import ModelCard
from elastic.shipping.export import Exported, export
from elastic.space.sizes import Derived, make_divisible
from elastic.support.weights import check_tensors
from zoo.catalog import find, source_of
from zoo.published.build import Config, blocks_by_stage, conv_of, import_specialised, mid_of, read_net_config


def export_specialised(name: str, folder: str | Path, out: str | Path) -> Exported:
    """Write a specialised network as an exported subnet of the supernet that it was cut out of.

    `elastic.load_subnet` loads it, other commands take it, and it can be trained further.

    Args:
        name: the supernet's, one of `zoo.list()`.
        folder: holds the published files, see `zoo.import_specialised`.
        out: the folder to write.

    Raises:
        RecipeError: no supernet of this name.
        CheckpointError: as for `import_specialised`; or it isn't a subnet of this supernet.
    """
    folder, entry = Path(folder).expanduser(), find(name)
    model = import_specialised(folder)
    shape = model.pretrained_cfg["input_size"]  # type: ignore[index]
    source = source_of(name, num_classes=model.num_classes, resolutions=[shape[-1]], input_size=shape)
    supernet = source.build()
    try:
        arch = arch_of(supernet, read_net_config(folder))
        check_tensors(supernet.extract(arch), model.state_dict(), str(folder))
    except (ArchError, CheckpointError) as error:
        raise CheckpointError(
            f"{folder.name} isn't a subnet of {name}: {error}; elastic zoo list has others"
        ) from error
    card = ModelCard(title=folder.name, license=entry.license, text=f"Specialised by Once-for-All: {entry.source}")
    return export(model, out, arch=arch, source=source, card=card)


def arch_of(supernet: Supernet, config: Config) -> Arch:
    """The arch of a specialised network's `net.config`.

    Raises:
        ArchError: the supernet has no such subnet.
    """
    find_values = _resnet_values if config["name"] == "ResNets" else _mobile_values
    known = supernet.space.names
    return supernet.space.arch({key: value for key, value in find_values(supernet, config) if key in known})


def _mobile_values(supernet: Supernet, config: Config) -> Iterator[tuple[str, Any]]:
    for stage, blocks in enumerate(blocks_by_stage(config["blocks"])):
        yield f"depth.{stage}", len(blocks)
        for index, block in enumerate(map(conv_of, blocks)):
            yield f"kernel.{stage}.{index}", block["kernel_size"]
            yield f"mid.{stage}.{index}", mid_of(block, block["in_channels"])


def _resnet_values(supernet: Supernet, config: Config) -> Iterator[tuple[str, Any]]:
    first, *middle, last = config["input_stem"]
    yield "depth.stem", len(middle)
    yield "stem", last["out_channels"]
    yield "ratio.stem", _ratio(supernet, "ratio.stem", "stem.0", {}, first["out_channels"])
    for stage, blocks in enumerate(blocks_by_stage(config["blocks"])):
        width = blocks[0]["out_channels"]
        yield f"depth.{stage}", len(blocks)
        yield f"width.{stage}", width
        for index, block in enumerate(blocks):
            place = f"{stage}.{index}"
            if f"expand.{place}" in supernet.space.names:
                mid = int(make_divisible(mid_of(block, width), 8))
                known = {f"width.{stage}": width}
                yield f"expand.{place}", _ratio(supernet, f"expand.{place}", f"mid.{place}", known, mid)


def _ratio(supernet: Supernet, name: str, size: str, values: dict[str, Any], wanted: int) -> float:
    """The choice of the dim `name` that makes the derived size `size` as wanted."""
    dim, derived = supernet.space[name], supernet.layout.derived[size]
    assert isinstance(derived, Derived)
    for ratio in dim.choices:
        if derived.evaluate({**values, name: ratio}) == wanted:
            return ratio
    raise ArchError(f"{size} = {wanted} isn't what any {name} of {list(dim.choices)} makes")
