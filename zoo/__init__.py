"""Named supernets: builders, cards, checkpoints, importers of published weights."""

from zoo.calibration import calibration
from zoo.cards import card
from zoo.catalog import create, import_checkpoint, load
from zoo.catalog import list_supernets as list  # noqa: A004 - read as zoo.list()
from zoo.published.build import import_specialised
from zoo.published.encodings import from_arch, to_arch
from zoo.published.latency_tables import load_ofa_table

__all__ = [
    "calibration",
    "card",
    "create",
    "from_arch",
    "import_checkpoint",
    "import_specialised",
    "list",
    "load",
    "load_ofa_table",
    "to_arch",
]
