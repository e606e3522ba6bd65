"""What a step may be made of: batches, projection, averages, teachers, phases; each against an obvious reference."""

import copy
from itertools import islice

import pytest
import torch
from small import mobilenet
from torch import nn
from torch.utils.data import DataLoader
from watching import PLAIN, Ends, Watch, fit, fresh, gradients, images

import elastic
from elastic.errors import RecipeError, TrainingError
from elastic.supernet.source import SupernetSource
from trainers import (
    Curriculum,
    Digits,
    Distiller,
    NoDistiller,
    OptimizerOptions,
    Phase,
    SoftTargets,
    SupernetModule,
    ValidationOptions,
)
from trainers.methods.samplers import Contest, SamplingContext
from trainers.methods.teachers import ModelTeacher, SnapshotTeacher
from trainers.steps.conflicts import GradientProjection
from trainers.steps.diagnosis import RUNGS, GradientCosines
from trainers.steps.options import StepOptions
from trainers.steps.step_runner import plain_optimizer
from trainers.steps.step_state import OptimizerStep
from trainers.steps.subnet_gradients import SubnetGradients


class Duel:
    """One subnet, the winner of a contest between the two ends."""

    subnets_per_step = 1

    def __init__(self, winner):
        self.winner = winner

    def sample(self, at, k):
        return Contest([at.space.smallest, at.space.largest], self.winner)


@pytest.mark.parametrize("accumulate", [2, 3, 5])
def test_accumulated_batches_have_the_gradient_of_all_together(vit, accumulate):
    whole = gradients(fresh(vit), 24)
    parts = gradients(fresh(vit, step=StepOptions(accumulate=accumulate)), {2: 12, 3: 8, 5: 12}[accumulate])
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_steps_of_an_epoch_are_counted_with_accumulation(vit):
    module = fresh(vit, step=StepOptions(accumulate=3))
    fit(module, Watch(), DataLoader(images(24), 6), max_epochs=2)  # 4 batches: a step of 3, a step of 1
    assert module.global_step == 4
    assert module.progress.steps_per_epoch == 2


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # PyTorch looks at its own tensors' while it traces
def test_compiled_blocks_have_the_gradients_of_eager_ones(vit):
    module = fresh(vit, step=StepOptions(compile="eager"))
    ours = gradients(module, 12)
    assert all(block._compiled_call_impl is None for block in module.supernet.modules())
    for name, gradient in gradients(fresh(vit), 12).items():
        torch.testing.assert_close(ours[name], gradient, msg=lambda m, n=name: f"{n}: {m}")


def test_compiled_blocks_cannot_wait_for_other_ranks():
    with pytest.raises(TrainingError, match="exclude each other"):
        StepOptions(compile=True, sync_batchnorm=True)


@pytest.mark.parametrize("after", [0.0, 1.0])
def test_projection_combines_the_two_gradients(vit, after):
    projection = GradientProjection(after=after)
    found = gradients(fresh(vit, step=StepOptions(projection=projection)), 24)
    module = fresh(vit)
    x, y = images(24).tensors
    expected, largest = [], []
    model = module.supernet.train()
    for arch, into in ((model.space.largest, largest), (model.space.smallest, expected)):
        with model.active(arch):
            logits = model(x)
            teacher = logits.detach() if into is largest else teacher  # noqa: F821 - the largest comes first
            SoftTargets().loss(logits, y, None if into is largest else teacher).backward()
        into += [p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters()]
        model.zero_grad()
    parameters = list(model.parameters())
    for parameter, gradient in zip(parameters, expected, strict=True):
        parameter.grad = gradient
    if after == 0:
        projection.combine(parameters, largest)
    else:
        for parameter, own in zip(parameters, largest, strict=True):
            parameter.grad += own
    for name, parameter in model.model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("order", [("largest", "smallest"), ("smallest", "largest", "smallest")])
def test_the_largest_subnets_gradients_are_its_own_over_several_batches(vit, order):
    supernet = fresh(vit).supernet.train()
    batches = [images(8, seed).tensors for seed in (0, 1)]
    wanted = {}
    for name in set(order):
        subnet = supernet.extract(getattr(supernet.space, name)).train()
        for x, y in batches:
            (nn.functional.cross_entropy(subnet(x), y) / 2).backward()
        wanted[name] = {name: parameter.grad for name, parameter in subnet.named_parameters()}
    step = OptimizerStep(0, archs=[getattr(supernet.space, name) for name in order], cosines=GradientCosines())
    step_gradients = SubnetGradients(supernet, StepOptions(projection=GradientProjection()), torch.Tensor.backward)
    for number, (x, y) in enumerate(batches):
        losses = step_gradients.accumulate(step, x, y, supernet.space.largest, NoDistiller(), None, 0.5, number)
        step.losses = losses if step.losses is None else step.losses + losses
    for (name, parameter), own in zip(supernet.model.named_parameters(), step.largest, strict=True):
        torch.testing.assert_close(own, wanted["largest"][name], rtol=1e-4, atol=1e-6)
        if name in wanted["smallest"]:
            others = order.count("smallest") * wanted["smallest"][name].norm()
            torch.testing.assert_close(parameter.grad.norm(), others, rtol=1e-4, atol=1e-6)
        else:
            assert parameter.grad is None
    assert len(step.cosines.values) == len(order) - 1
    if len(order) == 3:  # the third subnet is the first again
        torch.testing.assert_close(step.cosines.values[-1], torch.tensor(1.0))


def test_averaged_weights_are_the_moving_average(vit):
    module = fresh(vit, step=StepOptions(average=0.9), curriculum=Curriculum([Phase(learning_rate=0.5)]))
    seen = []
    watch = Watch(after=lambda module: seen.append(copy.deepcopy(module.supernet.model.state_dict())))
    fit(module, watch, DataLoader(images(24), 6), max_steps=4)
    slow = seen[0]
    for state in seen[1:]:
        slow = {name: 0.9 * slow[name] + 0.1 * tensor for name, tensor in state.items()}
    for name, tensor in module.trained.model.state_dict().items():
        torch.testing.assert_close(tensor, slow[name])
    assert module.trained is not module.supernet
    assert not torch.equal(module.trained.model.head.weight, module.supernet.model.head.weight)


def test_dropout_is_the_largests(vit):
    vit = SupernetSource(vit.model, {**vit.model_args, "drop_rate": 0.5}, input_size=[1, 32, 32])
    seen = {}

    class Look(Distiller):
        def loss(self, logits, labels, teacher):
            seen.setdefault("rates", []).append({m.p for m in module.supernet.modules() if isinstance(m, nn.Dropout)})
            return NoDistiller().loss(logits, labels, teacher)

    for option in ("largest", "all"):
        module = fresh(vit, step=StepOptions(dropout=option), distiller=Look())
        gradients(module, 24)
    assert [max(rates) for rates in seen["rates"]] == [0.5, 0.0, 0.5, 0.5]


def test_a_contest_is_won_by_loss(vit):
    for winner, pick in (("lowest", min), ("highest", max)):
        module = SupernetModule(vit, optimizer=PLAIN, sampler=Duel(winner), distiller=NoDistiller())
        x, y = images(24).tensors
        losses = {}
        for arch in (module.supernet.space.smallest, module.supernet.space.largest):
            with module.supernet.active(arch):
                losses[arch] = nn.functional.cross_entropy(module.supernet(x), y).item()
        trained = []
        fit(module, Watch(after=lambda m: None, during=trained.append), DataLoader(images(24), 24), max_steps=1)
        assert trained[0] == [pick(losses, key=losses.__getitem__)]


def test_a_contest_leaves_no_trace(source):
    module = fresh(source)
    module.supernet.train()
    before = copy.deepcopy(module.supernet.state_dict())
    x, y = images(24).tensors
    module.steps.gradients.choose(Duel("lowest").sample(SamplingContext(module.plan.spaces[0], None, 0, 0), 0), x, y)
    for name, tensor in module.supernet.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_phases_run_one_after_the_other(source):
    phases = [
        Phase("full", epochs=1, largest={"depth": 1, "mid": 1, "width": 1, "stem": 1}, learning_rate=0.1),
        Phase("sorted", epochs=1, sort="l1", learning_rate=0.2),
    ]
    module = SupernetModule(
        source, Curriculum(phases), teacher=SnapshotTeacher("full"),
        distiller=SoftTargets(label_weight=1.0), optimizer=OptimizerOptions(clip_value=None),
        step=StepOptions(average=0.9),
    )  # fmt: skip
    seen = []

    def after(module):
        momentum = [s["momentum_buffer"] for s in plain_optimizer(module).state.values()]
        seen.append(
            (
                module.global_step,
                {name: p.clone() for name, p in module.teaching.state_dict().items()},
                copy.deepcopy(module.trained),
                momentum,
                int(module.average.n_averaged),
            )
        )

    data = Digits(batch_size=64)
    fit(module, Watch(after=after), data, max_epochs=2, limit_train_batches=3)
    assert [step for step, *_ in seen] == [1, 2, 3, 4, 5, 6]
    end_of_full, later = seen[2][2], seen[3:]
    full = end_of_full.extract(end_of_full.space.largest)
    elastic.recalibrate(full, list(islice(data.calibration_batches(), module.validator.options.calibration_batches)))
    full = full.state_dict()
    for _, teaching, *_ in later:
        for name, tensor in full.items():
            assert torch.equal(teaching[name], tensor), name
    assert [averaged for *_, averaged in seen] == [1, 2, 3, 1, 2, 3]
    # the optimiser has begun anew: after one step, momentum is that step's gradient, weight decay included
    gradient = [p.grad for p in module.supernet.model.parameters()]
    assert len(gradient) == len(later[0][3])


def test_a_teacher_at_several_widths_has_no_batchnorm():
    with pytest.raises(TrainingError, match=r"BatchNorm's statistics are those of one width.*\{first: full\}"):
        SnapshotTeacher({"first": "student"}).build(mobilenet())


def test_a_teacher_of_its_own(vit):
    teacher = ModelTeacher("vit_tiny_patch16_224", {"embed_dim": 32, "depth": 2, "num_heads": 2})  # made for 32 × 32
    seen = []

    class Look(Distiller):
        def loss(self, logits, labels, teacher):
            seen.append(teacher)
            return NoDistiller().loss(logits, labels, None)

    module = SupernetModule(vit, optimizer=PLAIN, teacher=teacher, sampler=Ends(), distiller=Look())
    gradients(module, 24)
    expected = module.teaching.eval()(images(24).tensors[0])
    assert len(seen) == 2
    for logits in seen:
        torch.testing.assert_close(logits, expected)
    assert not any(p.requires_grad for p in module.teaching.parameters())


def test_wrong_options(vit):
    with pytest.raises(TrainingError, match=r"after phase 'all'; that must be one of the phases everything, and"):
        SupernetModule(vit, teacher=SnapshotTeacher("all"))
    with pytest.raises(RecipeError, match="there is no model 'vit_huge_7'"):
        SupernetModule(vit, teacher=ModelTeacher("vit_huge_7"))
    for args, message in (
        ({"in_chans": 3}, r"resnet10t can't take the student's inputs \(1, 32, 32\): .*model_args for such inputs"),
        ({"num_classes": 5}, r"gives \(5,\) for an image, the student has 10 classes; leave num_classes out"),
    ):
        with pytest.raises(TrainingError, match=message):
            SupernetModule(vit, teacher=ModelTeacher("resnet10t", args))
    with pytest.raises(TrainingError, match="accumulate counts batches, 1 or more; got 0"):
        StepOptions(accumulate=0)
    with pytest.raises(TrainingError, match=r"attacked_batches batches, 1 or more; got 2, 0 and 8"):
        ValidationOptions(calibration_batches=0)
    with pytest.raises(TrainingError, match=r"average is a decay between 0 and 1 such as 0.999; got 1"):
        StepOptions(average=1.0)


@pytest.mark.parametrize("option", [{"channels_last": True}, {"cosines_every": 1}])
def test_options_that_change_no_gradient(source, option):
    plain = gradients(fresh(source), 24)
    other = gradients(fresh(source, step=StepOptions(**option)), 24)
    for name, gradient in plain.items():
        torch.testing.assert_close(other[name], gradient, rtol=1e-3, atol=1e-5)


def test_updates_are_counted_by_rung(vit):
    class Middle(Ends):
        subnets_per_step = 3

        def sample(self, at, k):
            return super().sample(at, k) if k < 2 else at.space.sample((at.step, k))

    module, trained = SupernetModule(vit, optimizer=PLAIN, sampler=Middle()), []
    fit(module, Watch(during=trained.extend), DataLoader(images(24), 6), max_steps=4)
    macs = module.supernet.macs(trained)
    low, high = macs.min(), macs.max()
    slow = [0] * RUNGS
    for each in macs.tolist():
        slow[min(int((each - low) * RUNGS / (high - low)), RUNGS - 1)] += 1
    assert module.updates.tolist() == slow
    assert slow[0] >= 4 <= slow[-1]
    assert sum(slow) == 12


def test_cosines_are_between_the_gradients_of_shared_weights(vit):
    module = fresh(vit, step=StepOptions(cosines_every=1), distiller=NoDistiller())
    logged = {}
    fit(module, Watch(after=lambda m: logged.update(m.trainer.logged_metrics)), DataLoader(images(24), 24), max_steps=1)
    other = fresh(vit)
    model, (x, y), found = other.supernet.train(), images(24).tensors, []
    for arch in (model.space.largest, model.space.smallest):
        with model.active(arch):
            nn.functional.cross_entropy(model(x), y).backward()
        found.append(
            torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])
        )
        model.zero_grad()
    shared = found[1] != 0
    slow = nn.functional.cosine_similarity(found[0][shared], found[1][shared], dim=0)
    torch.testing.assert_close(logged["train/cosine/rung_0"], slow, rtol=1e-3, atol=1e-4)


def test_mixup_is_a_function_of_seed_and_batch(source):
    seen = {}

    def train(name):
        module = fresh(source, distiller=SoftTargets(label_weight=1.0))
        labels = []
        data = Digits(batch_size=8, mixup={"mixup_alpha": 0.8, "cutmix_alpha": 1.0})
        fit(module, Watch(batches=labels), data, max_steps=3)
        seen[name] = labels
        torch.rand(3)  # whatever else is drawn

    train("one")
    train("other")
    for (x, y), (x2, y2) in zip(seen["one"], seen["other"], strict=True):
        assert y.shape == (8, 10)
        torch.testing.assert_close(y.sum(1), torch.ones(8))
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)
    with pytest.raises(TrainingError, match=r"--data.mixup \{'alpha': 1\}.*unexpected keyword.*see timm.data.Mixup"):
        Digits(mixup={"alpha": 1})
    with pytest.raises(TrainingError, match=r"mixes .* in pairs, and --data.batch_size 7 is odd; set it to 8, or --da"):
        Digits(batch_size=7, mixup={"mixup_alpha": 0.8})
    few = SupernetSource(source.model, {**source.model_args, "num_classes": 3}, input_size=[1, 32, 32])
    with pytest.raises(TrainingError, match=r"the data has label 9; resnet18 has 3 classes, from 0 to 2: set num_cl"):
        fit(fresh(few), Watch(), Digits(batch_size=16, mixup={"mixup_alpha": 0.8}), max_steps=1)
