"""Every error that this library raises on purpose.

    ElasticError
    ├── LayoutError       a recipe and a model don't fit each other
    ├── RecipeError       no recipe for this model, or none of this name
    ├── ArchError         an arch that the search space doesn't contain
    ├── CostError         a cost that can't be derived from the layout
    ├── BudgetError       a budget that no subnet meets
    ├── ProfileError      a device profile that is broken or belongs to another supernet
    ├── CheckpointError   a weights file that is truncated, foreign or misshapen
    ├── ExportError       a file that can't be exported or pushed, or computes something else than the model
    ├── TrainingError     a training step that can't be trusted
    ├── StoppedError      a training that a signal ended, its work kept
    ├── PackageError      an optional package that isn't installed
    └── UsageError        a command line or a configuration that can't be understood

Each message says what was given, what was wanted, and the cure.
"""


class ElasticError(Exception):
    """Base of all errors of this library."""


class LayoutError(ElasticError, ValueError):
    """A layout entry doesn't fit the model; the message names the entry."""


class RecipeError(ElasticError, LookupError):
    """There is no recipe for this model, or none of this name."""


class ArchError(ElasticError, ValueError):
    """An arch with a dim, or a value, that the search space doesn't have."""


class CostError(ElasticError, RuntimeError):
    """The layout doesn't explain how a cost depends on the sizes."""


class BudgetError(ElasticError, ValueError):
    """No subnet meets the budget; the message gives the nearest feasible value."""


class ProfileError(ElasticError, ValueError):
    """A device profile is broken, or was measured on another supernet."""


class CheckpointError(ElasticError, ValueError):
    """A weights file is truncated, foreign or misshapen."""


class ExportError(ElasticError, RuntimeError):
    """A file can't be exported or pushed, or computes something else than the model."""


class StoppedError(ElasticError, RuntimeError):
    """A signal ended a training before its time; the message says how it goes on."""


class PackageError(ElasticError, ImportError):
    """An optional package isn't installed; the message says how to install it."""


class TrainingError(ElasticError, RuntimeError):
    """A training step can't be trusted: a loss that isn't finite, a batch of the wrong shape."""


def first_line(error: BaseException) -> str:
    """The message of another library's exception, shortened for ours; its class if it has no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


class UsageError(ElasticError, ValueError):
    """A command line or a configuration that can't be understood."""
