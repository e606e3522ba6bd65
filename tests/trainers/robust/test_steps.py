"""Steps under attack: against extracted subnets that are attacked and trained by hand, and what they leave alone."""

import copy
from dataclasses import replace
from functools import partial
from itertools import islice, product

import pytest
import torch
from examples import mostly_swept
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset
from watching import PLAIN, Ends, Watch, fit

from elastic.errors import TrainingError
from elastic.supernet.source import SupernetSource
from elastic.support.inputs import predict
from trainers import (
    ARD,
    HAT,
    MART,
    PGDAT,
    RSLAD,
    TRADES,
    AdaAD,
    Adversary,
    Curriculum,
    Digits,
    NoDistiller,
    Phase,
    SnapshotTeacher,
    SupernetModule,
    ValidationOptions,
    run_folder,
)
from trainers.cli.main import main
from trainers.methods.adversary import seeded, under_attack
from trainers.methods.loss import StepBatch
from trainers.methods.teacher_outputs import BatchTeacher, TeacherOutput
from trainers.robust.attacked_batchnorm import recalibrate_attacked
from trainers.robust.robust_loss import AttackedLosses
from trainers.steps.options import StepOptions
from trainers.steps.step_state import OptimizerStep
from trainers.steps.subnet_gradients import SubnetGradients

SHORT = Adversary(epsilon=0.1, steps=2, step_size=0.05)
LOSSES = [PGDAT(), PGDAT("teacher"), TRADES(), MART(), ARD(0.5), RSLAD(), AdaAD(0.5)]


def pixels(n, seed=0):
    return torch.rand(n, 1, 32, 32, generator=seeded(seed)), torch.arange(n) % 10


def source_in(name):
    args = {"num_classes": 10, "channels": [8, 16, 16, 24], "layers": [2, 1, 2, 1]}
    return {
        "resnet": SupernetSource("resnet18", args, input_size=[1, 32, 32], options={"resolutions": [24, 32]}),
        "mobilenet": SupernetSource("mobilenetv3_small_050", {"num_classes": 10}, input_size=[1, 32, 32]),
    }[name]


@pytest.fixture(params=["resnet", "mobilenet"])
def supernet(request):
    torch.manual_seed(0)
    return source_in(request.param).build().train()


def by_hand(supernet, archs, loss, adversary, teacher=None):
    """Losses, gradients and buffers of the archs cut out, one after the other; the first may teach the others."""
    images, labels = pixels(8)
    found, grads, in_place, shared = [], {}, None, None
    subnets = [supernet.extract(arch).train() for arch in archs]
    for k, (arch, subnet) in enumerate(zip(archs, subnets, strict=True)):

        def student(batch, arch=arch, subnet=subnet):
            with supernet.active(arch):
                resized = supernet.resize(batch)
            return subnet(resized)

        lesson = TeacherOutput(teacher(images).detach(), answer=teacher) if callable(teacher) else in_place
        if shared is None:
            with under_attack(subnet), under_attack(subnets[0]):
                on_teacher = lesson is not None and adversary.shared and not isinstance(loss, (AdaAD, HAT))
                victim = lesson.answer if on_teacher else student
                objective = loss.objective(victim, images, labels, lesson)
                attacked = adversary.perturb(images, objective, seeded(0, 0, 0, k))
        if adversary.shared:
            shared = attacked
        with under_attack(subnets[0]) if subnet is not subnets[0] else torch.enable_grad():
            value = loss.loss(student, images, attacked, labels, lesson)
        value.backward()
        found.append(value.detach())
        grads[k] = {name: parameter.grad for name, parameter in subnet.named_parameters()}
        if teacher == "in place" and arch == archs[0]:

            def first(batch, answer=student, subnet=subnet):
                with under_attack(subnet):
                    return answer(batch)

            in_place = TeacherOutput(first(images).detach(), answer=first)
    return torch.stack(found), grads, subnets


STEPS = [  # a convnet with other kinds of layers has the losses of two passes; in sweeps all
    pytest.param(net, loss, marks=[pytest.mark.sweep] * (net == "mobilenet" and type(loss) not in (TRADES, RSLAD)))
    for net in ("resnet", "mobilenet")
    for loss in LOSSES
]


@pytest.mark.parametrize(("supernet", "loss"), STEPS, indirect=["supernet"])
@pytest.mark.parametrize(
    ("taught", "shared"),
    mostly_swept(list(product(("network", "in place"), (False, True))), [("network", False), ("in place", True)]),
)
def test_a_step_is_that_of_the_subnets_cut_out(supernet, loss, taught, shared):
    archs = [supernet.space.largest, supernet.space.smallest, supernet.space.sample(1)]
    adversary = Adversary(epsilon=0.1, steps=2, step_size=0.05, shared=shared)
    network = copy.deepcopy(supernet.extract(archs[0])).eval().requires_grad_(False)
    images, labels = pixels(8)
    wanted, grads, subnets = by_hand(supernet, archs, loss, adversary, network if taught == "network" else "in place")
    teacher = BatchTeacher(network, images, None, as_wide=False) if taught == "network" else "in place"
    gradients = SubnetGradients(supernet, StepOptions(), torch.Tensor.backward, adversary)
    with supernet.training_in_place():
        supernet.zero_grad(set_to_none=False)
        found = gradients.accumulate(OptimizerStep(0, archs=archs), images, labels, archs[0], loss, teacher)
    torch.testing.assert_close(found, wanted)
    # the largest subnet's parts that no other subnet has are its own gradient
    mine = dict(supernet.model.named_parameters())
    last = [name for name, parameter in mine.items() if name.endswith("bias") and name.startswith(("fc", "classifier"))]
    total = sum(grads[k][last[0]] for k in range(3))
    torch.testing.assert_close(mine[last[0]].grad, total, rtol=1e-4, atol=1e-6)
    assert subnets[0].training


@pytest.mark.parametrize("loss", [TRADES(), RSLAD()], ids=lambda loss: type(loss).__name__)
def test_attacks_move_no_statistics(supernet, loss):
    """Those of a step are the ones of the passes that are trained, whatever the adversary does."""
    arch = supernet.space.largest
    images, labels = pixels(8)
    subnet = supernet.extract(arch).train()
    gradients = SubnetGradients(supernet, StepOptions(), torch.Tensor.backward, SHORT)
    gradients.accumulate(OptimizerStep(0, archs=[arch]), images, labels, arch, loss, "in place")
    with under_attack(subnet):
        objective = TRADES().objective(subnet, images, labels, None)
        attacked = SHORT.perturb(images, objective, seeded(0, 0, 0, 0))
    TRADES().loss(subnet, images, attacked, labels, None)
    for (name, buffer), (_, other) in zip(supernet.model.named_buffers(), subnet.named_buffers(), strict=True):
        torch.testing.assert_close(buffer, other, msg=lambda m, n=name: f"{n}: {m}")


def test_a_batch_is_attacked_once_where_attacks_are_shared(supernet, monkeypatch):
    made = []
    perturb = Adversary.perturb

    def counted(self, *args):
        made.append(perturb(self, *args))
        return made[-1]

    monkeypatch.setattr(Adversary, "perturb", counted)
    images, labels = pixels(4)
    archs = [supernet.space.largest, supernet.space.smallest, supernet.space.sample(1)]
    for adversary, wanted in ((SHORT, 3), (Adversary(epsilon=0.1, steps=1, shared=True), 1)):
        made.clear()
        gradients = SubnetGradients(supernet, StepOptions(), torch.Tensor.backward, adversary)
        gradients.accumulate(OptimizerStep(0, archs=archs), images, labels, archs[0], RSLAD(), "in place")
        assert len(made) == wanted


@pytest.mark.parametrize("loss", [AdaAD(0.5), HAT()], ids=lambda loss: type(loss).__name__)
def test_a_teacher_that_there_is_nothing_to_learn_from_is_not_attacked(loss):
    """AdaAD's would have to differ from itself, HAT's withstands nothing: it is the first subnet that is attacked."""
    supernet = source_in("resnet").build().train()
    network = copy.deepcopy(supernet.extract(supernet.space.largest)).eval().requires_grad_(False)
    archs, (images, labels) = [supernet.space.smallest, supernet.space.largest], pixels(8)
    teaching = BatchTeacher(network, images, None, as_wide=False)
    with supernet.active(archs[0]), under_attack(supernet.model):
        objective = loss.objective(partial(predict, supernet), images, labels, teaching(archs[0]))
        wanted = SHORT.perturb(images, objective, seeded(0, 0))
        assert objective(wanted) > objective(images)
    losses = AttackedLosses(supernet, StepBatch(images, labels, replace(SHORT, shared=True), 0.0, (0,)), loss)
    for k, arch in enumerate(archs):
        with supernet.active(arch):
            losses.loss(k, teaching(arch))
    assert torch.equal(losses._shared, wanted)


def test_while_it_warms_up_the_ball_is_small(supernet):
    arch, (images, labels) = supernet.space.largest, pixels(4)
    adversary = Adversary(epsilon=0.1, steps=2, step_size=0.05, warmup_epochs=2)
    gradients = SubnetGradients(supernet, StepOptions(), torch.Tensor.backward, adversary)
    plain = SubnetGradients(supernet, StepOptions(), torch.Tensor.backward)
    found = gradients.accumulate(OptimizerStep(0, 0.0, archs=[arch]), images, labels, arch, PGDAT(), None)
    wanted = plain.accumulate(OptimizerStep(0, archs=[arch]), images, labels, arch, NoDistiller(), None)
    torch.testing.assert_close(found, wanted)
    later = gradients.accumulate(OptimizerStep(0, 1.0, archs=[arch]), images, labels, arch, PGDAT(), None)
    assert later != found


# --- whole trainings ----------------------------------------------------------------------------------------


def module(name="resnet", **options):
    torch.manual_seed(0)
    options = {"sampler": Ends(), "adversary": SHORT, "distiller": RSLAD()} | options
    return SupernetModule(source_in(name), optimizer=PLAIN, **options)


def loader(n=16, batch=8):
    return DataLoader(TensorDataset(*pixels(n)), batch)


def test_a_training_is_a_function_of_its_seed():
    weights = []
    for _ in range(2):
        trained = module()
        fit(trained, Watch(), loader(), max_steps=2)
        weights.append(trained.supernet.state_dict())
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_hat_has_a_phase_without_an_adversary_for_its_helper(monkeypatch):
    phases = [
        Phase("standard", 1, distiller=NoDistiller()),
        Phase("teacher", 1, distiller=HAT()),
        Phase("students", 1),
    ]
    teacher = SnapshotTeacher({"standard": "full", "teacher": "full"})
    trained = module(curriculum=Curriculum(phases), teacher=teacher)
    monkeypatch.setattr("trainers.steps.phase_start.calibration_batches", lambda *_: iter([pixels(8)[0]]))
    seen = []
    fit(trained, Watch(lambda one: seen.append(one.global_step)), loader(8), max_epochs=3)
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train(precision):
    trained = module()
    data = loader() if precision != "64-true" else DataLoader(TensorDataset(pixels(16)[0].double(), pixels(16)[1]), 8)
    fit(trained, Watch(), data, max_steps=2, precision=precision)
    assert all(parameter.isfinite().all() for parameter in trained.supernet.parameters())


def test_images_that_are_normalised_outside_are_refused_before_anything_is_trained():
    data = DataLoader(TensorDataset(torch.randn(8, 1, 32, 32), torch.arange(8)), 8)
    with pytest.raises(TrainingError, match="belongs into the model"):
        fit(module(), Watch(), data, max_steps=1)


def test_validation_attacks_each_subnet():
    trained = module(validation=ValidationOptions(middles=1, attack=SHORT, attacked_batches=1))
    data = Digits(batch_size=16, raw=True)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, limit_train_batches=2, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(trained, datamodule=data)
    images, labels = next(iter(data.val_dataloader()))
    calibration = list(islice(data.calibration_batches(), ValidationOptions().calibration_batches))
    for result in trained.validator.results:
        subnet = trained.supernet.extract(result.arch).eval()
        with trained.supernet.active(result.arch):
            recalibrate_attacked(subnet, [trained.supernet.resize(one) for one in calibration], SHORT)
            resized = trained.supernet.resize(images)
        attacked = SHORT.deceive(subnet, resized, labels, seeded(0, 0, 0))
        wanted = (predict(subnet, attacked).argmax(1) == labels).float().mean()
        assert result.robust == pytest.approx(wanted.item(), abs=1e-6)
        assert trainer.callback_metrics[f"val/{result.name}/robust"] == pytest.approx(result.robust)


FIT = partial(
    "fit --config digits_robust --config robust_sandwich --runs {runs} --name run --trainer.limit_train_batches 2 "
    "--trainer.limit_val_batches 1 --trainer.enable_progress_bar false --trainer.log_every_n_steps 1 "
    "--model.curriculum.scale 0.03 --trainer.check_val_every_n_epoch 1 --data.batch_size 16 "
    "--model.validation.calibration_batches 1 --model.adversary.steps 1 "
    "--model.validation.attack.steps 1 --model.validation.middles 0".format
)


def test_the_best_supernet_of_a_run_is_kept(tmp_path, capsys, monkeypatch):
    """Of three epochs, the second one's: its smallest subnet holds out best."""
    values, saved = iter([0.2, 0.6, 0.4]), []
    monkeypatch.setattr(run_folder.RunFolder, "_value", staticmethod(lambda trainer, name: next(values)))
    monkeypatch.setattr(run_folder, "save_supernet", lambda net, *_, **__: saved.append(net))
    assert main(FIT(runs=tmp_path).split()) == 0, capsys.readouterr().err
    assert len(saved) == 2
    assert "under attack" in capsys.readouterr().out


def test_a_metric_that_nobody_logs_cannot_be_best(tmp_path, capsys):
    assert main([*FIT(runs=tmp_path).split(), "--keep_best", "val/tiny/robust"]) == 2
    assert "val/smallest/robust" in capsys.readouterr().err


def test_an_epsilon_of_whole_pixels_is_refused_on_the_command_line(tmp_path, capsys):
    assert main([*FIT(runs=tmp_path).split(), "--model.adversary.epsilon", "8"]) == 2
    assert "8/255" in capsys.readouterr().err
