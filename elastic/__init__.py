"""Train one network once, then cut out an ordinary PyTorch model for every device and every budget."""

from elastic.arch import Arch
from elastic.batchnorm import recalibrate
from elastic.building import SupernetSource
from elastic.card import Card
from elastic.elasticize import elasticize
from elastic.errors import ElasticError
from elastic.evaluation import MeasuredAccuracy
from elastic.export import Exported, export, load_subnet
from elastic.features import Features
from elastic.importance import importance
from elastic.inspection import inspect
from elastic.measure import Setting
from elastic.ofa_tables import load_ofa_table
from elastic.predicting import fit_figures
from elastic.prediction import Predictor, fit_predictor
from elastic.profile import DeviceProfile
from elastic.profiling import check_profile, measure_profile
from elastic.pushing import push
from elastic.recipe import Recipe
from elastic.recipes import registry
from elastic.report import Report, write_csv, write_report
from elastic.result import SearchResult
from elastic.search import search
from elastic.sizes import Derived, DimRule
from elastic.space import SearchSpace
from elastic.storage import load_supernet, save_supernet
from elastic.supernet import Supernet
from elastic.switching import Runtime
from elastic.verification import verify

register_recipe = registry.register

__all__ = [
    "Arch",
    "Card",
    "Derived",
    "DeviceProfile",
    "DimRule",
    "ElasticError",
    "Exported",
    "Features",
    "MeasuredAccuracy",
    "Predictor",
    "Recipe",
    "Report",
    "Runtime",
    "SearchResult",
    "SearchSpace",
    "Setting",
    "Supernet",
    "SupernetSource",
    "check_profile",
    "elasticize",
    "export",
    "fit_figures",
    "fit_predictor",
    "importance",
    "inspect",
    "load_ofa_table",
    "load_subnet",
    "load_supernet",
    "measure_profile",
    "push",
    "recalibrate",
    "register_recipe",
    "save_supernet",
    "search",
    "verify",
    "write_csv",
    "write_report",
]
