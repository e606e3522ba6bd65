from .cards import card as card
from .catalog import create as create
from .catalog import import_checkpoint as import_checkpoint
from .catalog import list_supernets as list  # noqa: A004 - read as zoo.list()
from .catalog import load as load
from .made_up_inputs import calibration as calibration
from .published.build import import_specialised as import_specialised
from .published.encodings import from_arch as from_arch
from .published.encodings import to_arch as to_arch
from .published.latency_tables import load_ofa_table as load_ofa_table

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
