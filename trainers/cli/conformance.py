"""`elastic conformance`: the elastic sizes of timm's and transformers' architectures, and their exactness."""

from __future__ import annotations


def conformance(names: str = "", out: str | None = None) -> None:
    """Make architectures elastic, and compare: which sizes they get, and whether every subnet is exact.

    Ends with exit status 1 where one isn't.

    Args:
        names: of timm's architectures, or transformers:TYPE, separated by commas; by default all families, those of
            transformers where it is installed.
        out: a Markdown file to write the table to.
    """
    from importlib.util import find_spec
    from pathlib import Path

    from elastic.support.console import show
    from elastic.support.files import write_text
    from elastic.support.progress import progress_bar
    from elastic.support.text import names_in
    from trainers.jobs.conformance import (
        ARCHITECTURES,
        TRANSFORMERS,
        check_architectures,
        conform,
        markdown,
        summary,
        table,
    )

    known = ARCHITECTURES + (TRANSFORMERS if find_spec("transformers") else ())
    wanted = names_in(names) or known
    check_architectures(wanted)
    rows = []
    with progress_bar("making elastic", len(wanted)) as advance:
        for name in wanted:
            rows.append(conform(name))
            advance(1)
    show(table(rows))
    show(summary(rows))
    if out is not None:
        write_text(Path(out), markdown(rows) + "\n")
    if not all(row.exact for row in rows):
        raise SystemExit(1)
