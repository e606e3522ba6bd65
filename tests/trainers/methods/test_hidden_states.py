import pytest
import torch
from examples import mostly_swept
from torch import nn
from watching import Ends, fresh, gradients, images

from elastic.errors import TrainingError
from trainers import NoDistiller, SoftTargets
from trainers.methods.hidden_states import HiddenStates
from trainers.methods.teacher_outputs import recorded
from trainers.methods.teachers import ModelTeacher
from trainers.steps.options import StepOptions


def slow_states(model, x):
    """The embedding and what each block makes of it, by hand."""
    states = [model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(x))))]
    for block in model.blocks:
        states.append(block(states[-1]))
    return states


def test_states_are_the_embedding_and_each_blocks_output(vit):
    supernet = vit.build().eval()
    x = images(3).tensors[0]
    for arch in (supernet.space.largest, supernet.space.smallest):
        with supernet.active(arch), recorded(supernet.model, "blocks") as states:
            supernet(x)
        slow = slow_states(supernet.extract(arch), x)
        assert len(states) == arch["depth"] + 1
        for one, other in zip(states, slow, strict=True):
            torch.testing.assert_close(one, other)
    with recorded(supernet.model, "blocks") as states:
        pass
    supernet(x)
    assert states == []


def test_distance_follows_the_layer_map():
    generator = torch.Generator().manual_seed(0)
    teacher = [torch.randn(2, 3, 8, generator=generator) for _ in range(13)]
    student = [torch.randn(2, 3, 6, generator=generator) for _ in range(7)]  # half of the blocks, narrower
    slow = sum(((s - t[..., :6]) ** 2).mean() for s, t in zip(student, teacher[::2], strict=True))
    torch.testing.assert_close(HiddenStates(weight=0.1).distance(student, teacher), 0.1 * slow)
    nine = [torch.zeros(1, 1, 1)] * 10  # 9 of 12 blocks
    numbered = [torch.full((1, 1, 1), float(k)) for k in range(13)]
    behind = [0, 1, 2, 4, 5, 6, 8, 9, 10, 12]
    torch.testing.assert_close(HiddenStates().distance(nine, numbered), torch.tensor(float(sum(k * k for k in behind))))


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # PyTorch looks at its own tensors' while it traces
@pytest.mark.parametrize("backend", mostly_swept([False, "eager"], [False]))
def test_the_gradient_is_that_of_the_sum(vit, backend):
    distiller = HiddenStates(SoftTargets(label_weight=1.0), weight=0.5)
    ours = gradients(fresh(vit, distiller=distiller, step=StepOptions(compile=backend)), 24)
    supernet = fresh(vit).supernet.train()
    x, y = images(24).tensors
    lesson = None
    for k in range(2):
        arch = Ends().sample(type("At", (), {"space": supernet.space}), k)
        with supernet.active(arch), recorded(supernet.model, "blocks") as states:
            logits = supernet(x)
        loss = nn.functional.cross_entropy(logits, y, label_smoothing=0.1)
        if lesson:
            soft = nn.functional.cross_entropy(logits, lesson[0].softmax(1))
            goals = [lesson[1][i] for i in (range(3) if len(states) == 3 else (0, 2))]
            loss = (
                loss
                + soft
                + 0.5 * sum(((s - g[..., : s.shape[-1]]) ** 2).mean() for s, g in zip(states, goals, strict=True))
            )
        with supernet.active(arch):
            loss.backward()
        lesson = lesson or (logits.detach(), [state.detach() for state in states])
    for name, parameter in supernet.model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_a_foreign_teachers_states(vit):
    wider = {**vit.model_args, "embed_dim": 64, "depth": 3, "in_chans": 1}
    module = fresh(vit, distiller=HiddenStates(), teacher=ModelTeacher("vit_tiny_patch16_224", wider))
    plain = gradients(fresh(vit, teacher=ModelTeacher("vit_tiny_patch16_224", wider)), 24)
    assert any(not torch.equal(gradient, plain[name]) for name, gradient in gradients(module, 24).items())


def test_mistakes(vit, source):
    with pytest.raises(TrainingError, match="one stack of blocks, such as transformers; this supernet has 4: layer1"):
        fresh(source, distiller=HiddenStates())
    with pytest.raises(TrainingError, match="weight is 0 or more, got -1"):
        HiddenStates(NoDistiller(), weight=-1)
    with pytest.raises(TrainingError, match=r"state is \(1, 5, 4\), its teacher's \(1, 10, 4\)"):
        HiddenStates().distance([torch.zeros(1, 5, 4)], [torch.zeros(1, 10, 4)])
    teacher = ModelTeacher("resnet18", {"in_chans": 1})
    module = fresh(vit, distiller=HiddenStates(), teacher=teacher)
    with pytest.raises(TrainingError, match="the teacher ResNet has no blocks at 'blocks'"):
        gradients(module, 24)
