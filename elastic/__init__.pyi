from .errors import ElasticError as ElasticError
from .layers.batchnorm import recalibrate as recalibrate
from .layout.recipe import (
    Recipe as Recipe,
)
from .layout.recipe import (
    register_recipe as register_recipe,
)
from .prediction.features import ArchFeatures as ArchFeatures
from .prediction.features import Features as Features
from .prediction.predictor import (
    Predictor as Predictor,
)
from .prediction.predictor import (
    fit_predictor as fit_predictor,
)
from .profiles.measuring import (
    check_profile as check_profile,
)
from .profiles.measuring import (
    measure_profile as measure_profile,
)
from .profiles.profile import DeviceProfile as DeviceProfile
from .reporting.report import (
    Report as Report,
)
from .reporting.report import (
    write_csv as write_csv,
)
from .reporting.report import (
    write_report as write_report,
)
from .runtime import Runtime as Runtime
from .searching.learning import (
    fit_figures as fit_figures,
)
from .searching.learning import (
    learn_predictors as learn_predictors,
)
from .searching.result import SearchResult as SearchResult
from .searching.search import search as search
from .searching.verification import (
    remeasure_front as remeasure_front,
)
from .searching.verification import (
    verify as verify,
)
from .shipping.card import (
    Card as Card,
)
from .shipping.card import (
    ModelCard as ModelCard,
)
from .shipping.export import (
    Exported as Exported,
)
from .shipping.export import (
    export as export,
)
from .shipping.loading import load_subnet as load_subnet
from .shipping.pushing import push as push
from .space.arch import Arch as Arch
from .space.sizes import (
    Derived as Derived,
)
from .space.sizes import (
    DimRule as DimRule,
)
from .space.space import SearchSpace as SearchSpace
from .supernet.elasticize import elasticize as elasticize
from .supernet.evaluation import MeasuredAccuracy as MeasuredAccuracy
from .supernet.folder import (
    load_supernet as load_supernet,
)
from .supernet.folder import (
    save_supernet as save_supernet,
)
from .supernet.importance import importance as importance
from .supernet.inspection import inspect as inspect
from .supernet.source import SupernetSource as SupernetSource
from .supernet.supernet import Supernet as Supernet
from .timing.setting import Setting as Setting
