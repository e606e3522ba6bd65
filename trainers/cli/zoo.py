"""`elastic zoo list`, `info`, `import` and `convert`: the named supernets."""

from __future__ import annotations

from typing import Any


def list_() -> None:
    """Show the named supernets: what their subnets cost, and whether there are pretrained weights."""
    from rich import get_console
    from rich.table import Column, Table

    from elastic.support.text import short, spell_count
    from zoo.catalog import find, list_supernets

    # two lines to an entry fit into 80 columns
    table = Table(Column("name", no_wrap=True), "params", "MACs", "subnets", "weights", show_lines=True)
    for name in list_supernets():
        entry = find(name)
        sizes, weights = entry.sizes, entry.weights
        ranges = [f"{short(least)} to\n{short(most)}" for least, most in (sizes.params, sizes.macs)]
        pretrained = "none yet" if weights is None else "shipped" if weights.shipped else "download"
        table.add_row(f"{name}\n[dim]{entry.family}[/]", *ranges, spell_count(sizes.subnets), pretrained)
    get_console().print(table)


def info(name: str) -> None:
    """Show the card of a named supernet: license, paper, source, preprocessing, metrics and whose they are.

    Args:
        name: as elastic zoo list shows it.
    """
    from rich import get_console
    from rich.markdown import Markdown

    from zoo.cards import card

    get_console().print(Markdown(card(name)))


def import_(
    name: str,
    path: str | None = None,
    out: str = "supernet",
    resolutions: list[int] | None = None,
    *,
    device: str = "cpu",
) -> None:
    """Make a folder of published weights that the other commands take.

    The smallest and the largest subnet are run once; where their outputs aren't finite, nothing is written.

    Args:
        name: the supernet's, as elastic zoo list shows it; for a specialised network, that it was cut out of.
        path: a published file of the supernet's; or the folder of a specialised network (net.config, init), which
            becomes a folder for elastic export and elastic fit --subnet; by default the supernet's file is downloaded.
        out: the folder to write.
        resolutions: sides of the square input on offer, such as [160,192,224]; fewer make searching begin sooner.
        device: that the subnets are run on: cpu, cuda, cuda:1, mps.
    """
    from pathlib import Path

    from elastic.support.console import show
    from zoo.catalog import find

    find(name)  # a misspelt name is said before PyTorch is imported
    from elastic.reporting.tables import export_table
    from elastic.supernet.folder import save_supernet
    from trainers.jobs.judge import check_finite
    from trainers.jobs.trained import check_device, statistics_of
    from zoo.catalog import import_checkpoint, load, source_of
    from zoo.match_arch import export_specialised

    check_device(device)
    if path is not None and Path(path).expanduser().is_dir():
        show(export_table(export_specialised(name, path, out)))
        return
    options: dict[str, Any] = {} if resolutions is None else {"resolutions": resolutions}
    supernet = load(name, **options) if path is None else import_checkpoint(name, path, **options)
    check_finite(supernet, name, device)
    save_supernet(supernet, source_of(name, **options), out, statistics_of(find(name)))
    show(
        f"supernet: {out}; cut a subnet out with: elastic extract {out} --arch smallest --data DATA.yaml",
    )


def convert(name: str, encoding: str, out: str | None = None) -> None:
    """Convert a subnet's encoding: the published one to an arch as other commands take it, or back.

    Args:
        name: the supernet's, as elastic zoo list shows it.
        encoding: JSON, or a file with such JSON: {"ks", "e", "d"}, DynaBERT's {"width", "depth"}, or an arch.
        out: a file to write instead of showing it.
    """
    import json

    from elastic.errors import ArchError
    from elastic.support.console import show
    from elastic.support.files import write_text
    from elastic.support.reading import UnreadableError, parse_json, read_json
    from zoo.catalog import create
    from zoo.published.encodings import from_arch, to_arch

    wanted = 'an encoding: {"ks": [...], "e": [...], "d": [...]}, or an arch, as JSON or in a file'
    try:
        given = parse_json(encoding) if encoding.lstrip().startswith("{") else read_json(encoding, ArchError, wanted)
    except UnreadableError as error:
        raise ArchError(f"{encoding!r:.60} isn't {wanted}: {error}") from error
    supernet = create(name)
    converted = from_arch(supernet, given) if set(given) <= set(supernet.space.names) else to_arch(supernet, given)
    text = json.dumps(dict(converted))
    if out is None:
        show(text)
    else:
        write_text(out, text + "\n")
