from .checkpoints import load_from_checkpoint as load_from_checkpoint
from .data.digit_scenes import DigitScenes as DigitScenes
from .data.digits import Digits as Digits
from .data.glue import Glue as Glue
from .data.image_data import ImageDataModule as ImageDataModule
from .data.supernet_data import SupernetData as SupernetData
from .data.timm_data import TimmData as TimmData
from .methods.adversary import Adversary as Adversary
from .methods.curriculum import (
    Curriculum as Curriculum,
)
from .methods.curriculum import (
    Phase as Phase,
)
from .methods.distillers import (
    AlphaDivergence as AlphaDivergence,
)
from .methods.distillers import (
    Distiller as Distiller,
)
from .methods.distillers import (
    NoDistiller as NoDistiller,
)
from .methods.distillers import (
    SoftTargets as SoftTargets,
)
from .methods.hidden_states import HiddenStates as HiddenStates
from .methods.loss import SubnetLoss as SubnetLoss
from .methods.macs_samplers import (
    BalancedSampler as BalancedSampler,
)
from .methods.macs_samplers import (
    ComplexityWalkSampler as ComplexityWalkSampler,
)
from .methods.macs_samplers import (
    ParetoSampler as ParetoSampler,
)
from .methods.optimizers import OptimizerOptions as OptimizerOptions
from .methods.samplers import (
    NestedSampler as NestedSampler,
)
from .methods.samplers import (
    RoundRobinSampler as RoundRobinSampler,
)
from .methods.samplers import (
    Sampler as Sampler,
)
from .methods.samplers import (
    SandwichSampler as SandwichSampler,
)
from .methods.samplers import (
    StrictlyFairSampler as StrictlyFairSampler,
)
from .methods.samplers import (
    UniformSampler as UniformSampler,
)
from .methods.teachers import (
    InPlaceTeacher as InPlaceTeacher,
)
from .methods.teachers import (
    ModelTeacher as ModelTeacher,
)
from .methods.teachers import (
    SnapshotTeacher as SnapshotTeacher,
)
from .methods.teachers import (
    Teacher as Teacher,
)
from .robust.accuracy import RobustAccuracy as RobustAccuracy
from .robust.attacks import Threat as Threat
from .robust.distillers import (
    ARD as ARD,
)
from .robust.distillers import (
    RSLAD as RSLAD,
)
from .robust.distillers import (
    AdaAD as AdaAD,
)
from .robust.losses import (
    HAT as HAT,
)
from .robust.losses import (
    MART as MART,
)
from .robust.losses import (
    PGDAT as PGDAT,
)
from .robust.losses import (
    TRADES as TRADES,
)
from .robust.robust_loss import RobustLoss as RobustLoss
from .steps.conflicts import GradientProjection as GradientProjection
from .steps.options import StepOptions as StepOptions
from .supernet_module import SupernetModule as SupernetModule
from .validation import ValidationOptions as ValidationOptions
