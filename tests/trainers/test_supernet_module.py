"""A training step against slow references made of extracted, plain models."""

import copy

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from watching import PLAIN, fit, one_step

from elastic.errors import TrainingError
from trainers import (
    Curriculum,
    Digits,
    NoDistiller,
    OptimizerOptions,
    Phase,
    SoftTargets,
    StepOptions,
    SupernetModule,
    ValidationOptions,
)
from trainers.methods.distillers import AlphaDivergence
from trainers.methods.samplers import NestedSampler, RoundRobinSampler, UniformSampler
from trainers.methods.teachers import SnapshotTeacher
from trainers.robust.distillers import RSLAD
from trainers.robust.losses import PGDAT
from trainers.steps.step_state import OptimizerStep


class SmallestOnly:
    """A sampler under which most weights are never used."""

    subnets_per_step = 2

    def sample(self, at, k):
        return at.space.smallest


def slow_gradients(watch, distiller):
    """The sum over the step's subnets, each trained as the plain model that it is, put back index by index."""
    total = {name: torch.zeros_like(tensor) for name, tensor in watch.before.items() if name in watch.gradients}
    labels, teacher = watch.batch[1], None
    for subnet, images in zip(watch.subnets, watch.inputs, strict=True):
        logits = subnet(images)
        distiller.loss(logits, labels, teacher).backward()
        teacher = logits.detach() if teacher is None else teacher
        for name, parameter in subnet.named_parameters():
            total[name][tuple(map(slice, parameter.shape))] += parameter.grad
    return total


def test_a_steps_gradient_is_the_sum_of_its_subnets(source):
    module = SupernetModule(source, optimizer=PLAIN, seed=5)
    watch = one_step(module)
    assert len(set(watch.archs)) == 4
    for name, slow in slow_gradients(watch, SoftTargets()).items():
        torch.testing.assert_close(watch.gradients[name], slow, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_a_step_is_one_update_with_the_summed_gradient(source):
    module = SupernetModule(source, Curriculum([Phase(learning_rate=0.3)]), optimizer=PLAIN)
    watch = one_step(module)
    for name, parameter in module.supernet.model.named_parameters():
        torch.testing.assert_close(parameter.detach(), watch.before[name] - 0.3 * watch.gradients[name])


def test_weights_that_no_subnet_used_count_as_zero_and_stay(source):
    module = SupernetModule(source, optimizer=PLAIN, sampler=SmallestOnly(), distiller=NoDistiller())
    watch = one_step(module)
    smallest = dict(watch.subnets[0].named_parameters())
    for name, parameter in module.supernet.model.named_parameters():
        unused = torch.ones_like(parameter, dtype=torch.bool)
        if name in smallest:
            unused[tuple(map(slice, smallest[name].shape))] = False
        assert not watch.gradients[name][unused].any(), name
        assert torch.equal(parameter[unused], watch.before[name][unused]), name


def test_gradients_are_clipped(source):
    by_value = one_step(SupernetModule(source, optimizer=OptimizerOptions(clip_value=1e-3)))
    assert max(gradient.abs().max() for gradient in by_value.gradients.values()) == pytest.approx(1e-3)
    by_norm = one_step(SupernetModule(source, optimizer=OptimizerOptions(clip_value=None, clip_norm=0.5)))
    norm = torch.stack([gradient.norm() for gradient in by_norm.gradients.values()]).norm()
    assert norm == pytest.approx(0.5, rel=1e-3)


def test_norms_and_biases_have_no_weight_decay(source):
    model = source.build().model
    decayed, exempt = {}, {}
    for group in OptimizerOptions("adamw", weight_decay=0.1).build(model, 0.1).param_groups:
        (decayed if group["weight_decay"] else exempt).update({id(p): p for p in group["params"]})
    assert all(p.ndim > 1 for p in decayed.values())
    assert all(p.ndim == 1 for p in exempt.values())
    assert decayed.keys() | exempt.keys() == {id(p) for p in model.parameters()}


def test_the_supernet_is_as_before_after_a_fit(source):
    module = SupernetModule(source)
    one_step(module)
    assert module.supernet.arch == module.supernet.space.largest
    module.supernet(torch.zeros(2, 1, 32, 32)).sum().backward()
    gradients = torch.autograd.grad(
        module.supernet(torch.zeros(2, 1, 32, 32)).sum(), list(module.supernet.parameters())
    )
    assert len(gradients) == len(list(module.supernet.parameters()))


@pytest.mark.parametrize("compile", [False, "eager"])
def test_the_supernet_is_as_before_after_a_fit_that_raised(vit, compile):  # noqa: A002 - the option's name
    module = SupernetModule(vit, step=StepOptions(compile=compile))

    class Fail(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            assert module.supernet.trains_in_place is not bool(compile)
            module.steps.current = OptimizerStep(0)
            raise RuntimeError("as planned")

    with pytest.raises(RuntimeError, match="as planned"):
        fit(module, Fail(), Digits(batch_size=8), max_steps=1)
    assert not module.supernet.trains_in_place
    assert all(block._compiled_call_impl is None for block in module.supernet.modules())
    assert module.steps.current is None


def test_batchnorm_needs_calibration_images_for_validation(source, vit):
    images = DataLoader(TensorDataset(torch.randn(8, 1, 32, 32), torch.zeros(8).long()), 4)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with pytest.raises(TrainingError, match=r"no calibration_batches\(\)"):
        trainer.validate(SupernetModule(source), images)
    trainer.validate(SupernetModule(vit), images)  # has no BatchNorm


def test_a_loss_that_is_not_finite_names_step_and_subnet(source):
    module = SupernetModule(source)
    with torch.no_grad():
        module.supernet.model.fc.bias[3] = float("nan")
    before = copy.deepcopy(module.supernet.model.state_dict())
    largest = module.supernet.space.largest.id
    with pytest.raises(
        TrainingError, match=rf"step 0: the loss of subnet {largest} \(depth.*number 1 of .* 4\) is nan"
    ):
        one_step(module)
    for name, parameter in module.supernet.model.named_parameters():
        assert torch.equal(parameter, before[name]) or name == "fc.bias"


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(4, 3, 32, 32), torch.zeros(4).long(), r"\(4, 3, 32, 32\); resnet18 takes \(N, 1, 32, 32\)"),
        (torch.zeros(4, 1, 28, 28), torch.zeros(4).long(), r"\(4, 1, 28, 28\); resnet18 takes \(N, 1, 32, 32\)"),
        (torch.zeros(4, 1, 32, 32), torch.zeros(4, 2).long(), r"4 inputs has labels torch.int64 \(4, 2\)"),
        (torch.zeros(4, 1, 32, 32), torch.zeros(4), r"labels torch.float32 \(4,\); wanted int64 \(4,\)"),
        (torch.zeros(4, 1, 32, 32), torch.full((4,), 10), r"label 10; resnet18 has 10 classes.*set num_classes"),
        (torch.zeros(4, 1, 32, 32), torch.full((4,), -1), r"label -1; resnet18 has 10 classes, from 0 to 9"),
    ],
)
def test_wrong_batch(source, images, labels, message):
    with pytest.raises(TrainingError, match=message):
        one_step(SupernetModule(source), DataLoader(TensorDataset(images, labels), 4))


def named(one):
    return type(one).__name__


class Endless(IterableDataset):
    """Nobody knows how many."""

    def __iter__(self):
        while True:
            yield torch.zeros(1, 32, 32), 0


def test_data_without_a_length(vit):
    with pytest.raises(TrainingError, match=r"no length; say how many .*limit_train_batches"):
        one_step(SupernetModule(vit), DataLoader(Endless(), 4))


@pytest.mark.parametrize("distiller", [SoftTargets(), AlphaDivergence(), RSLAD(), PGDAT("teacher")], ids=named)
@pytest.mark.parametrize("sampler", [UniformSampler(4), SmallestOnly(), UniformSampler(1)], ids=named)
def test_a_teacher_in_place_that_is_never_there(vit, sampler, distiller):
    pupil, draws = type(distiller).__name__, type(sampler).__name__
    with pytest.raises(TrainingError, match=f"'everything': {pupil} learns .*, and {draws} doesn't train that in each"):
        SupernetModule(vit, sampler=sampler, distiller=distiller)


def test_a_teacher_in_place_is_there_or_not_needed(vit):
    alone, together = Phase("alone", 1, largest={"*": 1}, sampler=UniformSampler(1)), Phase("together", 1)
    SupernetModule(vit, Curriculum([alone, together]))
    SupernetModule(vit, Curriculum([alone, together]), sampler=UniformSampler(2), teacher=SnapshotTeacher("alone"))
    for distiller in (NoDistiller(), PGDAT()):
        SupernetModule(vit, sampler=UniformSampler(4), distiller=distiller)
        labels = Phase("labels", 1, sampler=UniformSampler(4), distiller=distiller)
        SupernetModule(vit, Curriculum([labels, together]))
    SupernetModule(vit, sampler=NestedSampler(3))
    depths = Curriculum([Phase("depths", 1, largest={"embed": 1, "heads": 1, "hidden": 1})])
    SupernetModule(vit, depths, sampler=RoundRobinSampler(2))


def test_a_snapshot_of_a_phase_that_does_not_train_the_largest(vit):
    small = Phase("small", 1, choices={"depth": [1]})
    with pytest.raises(TrainingError, match=r"after phase 'small', which trains depth up to 1 and not to 2, .* narrow"):
        SupernetModule(vit, Curriculum([small, Phase("all", 1)]), teacher=SnapshotTeacher("small"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 2.0}, "momentum is at least 0 and below 1.*got 2.0 and 0.0001"),
        ({"momentum": -0.1}, "got -0.1 and"),
        ({"weight_decay": -1.0}, "weight_decay 0 or more; got 0.9 and -1.0"),
        ({"clip_norm": -1.0}, "clip_value and clip_norm are above 0, or null for no clipping; got 1.0 and -1.0"),
        ({"clip_value": 0.0}, "got 0.0 and None"),
    ],
)
def test_optimizer_options_that_cannot_be(options, message):
    with pytest.raises(TrainingError, match=message):
        OptimizerOptions(**options)


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_true_precisions_train_and_validate(source, precision):
    module = SupernetModule(source, validation=ValidationOptions(middles=0, calibration_batches=1))
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                      precision=precision, max_epochs=1, limit_train_batches=1, limit_val_batches=1,
                      num_sanity_val_steps=0, enable_model_summary=False)  # fmt: skip
    trainer.fit(module, datamodule=Digits(batch_size=8, mixup={"mixup_alpha": 0.5}))
    assert [result.name for result in module.validator.results] == ["smallest", "largest"]
