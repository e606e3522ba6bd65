import math

import pytest

from elastic.errors import ArchError, TrainingError
from trainers import Curriculum, Phase


def test_rate_warms_up_then_follows_one_cosine():
    phase = Phase(epochs=4, learning_rate=0.8, warmup_epochs=1, final_learning_rate=0.2)
    rates = [phase.rate(step, 10) for step in range(40)]
    assert rates[:10] == pytest.approx([0.08 * (step + 1) for step in range(10)])
    cosine = [0.2 + 0.6 * (1 + math.cos(math.pi * step / 30)) / 2 for step in range(30)]
    assert rates[10:] == pytest.approx(cosine)
    assert phase.rate(40, 10) == phase.rate(1000, 10) == pytest.approx(0.2)


def test_at_walks_through_the_phases_step_by_step():
    curriculum = Curriculum([Phase("one", epochs=2), Phase("two", epochs=1), Phase("three", epochs=3)])
    names = [phase.name for phase in curriculum.phases]
    places = [(names[index], step) for index, step in (curriculum.at(step, 5) for step in range(30))]
    walked = [(name, step) for name, epochs in (("one", 2), ("two", 1), ("three", 3)) for step in range(epochs * 5)]
    assert places == walked
    assert curriculum.epochs == 6
    assert curriculum.at(31, 5) == (2, 16)


def test_scale_stretches_every_phase():
    curriculum = Curriculum([Phase("one", epochs=10, warmup_epochs=2), Phase("two", epochs=1)], scale=0.5)
    assert [(phase.epochs, phase.warmup_epochs) for phase in curriculum.scaled] == [(5, 1), (1, 0)]


def test_phase_narrows_the_space(source):
    space = source.build().space
    assert Phase().narrow(space) is space
    assert Phase(choices={"depth": [2]}).narrow(space).smallest["depth.0"] == 2
    full = Phase(largest={"depth": 1, "width": 2}).narrow(space)
    assert [dim.choices for dim in full.dims] == [
        dim.choices[-{"depth": 1, "width": 2}.get(dim.kind, 9) :] for dim in space.dims
    ]
    with pytest.raises(ArchError, match="names no dim"):
        Phase(choices={"dept": [2]}).narrow(space)
    with pytest.raises(ArchError, match="names no dim"):
        Phase(largest={"dept": 2}).narrow(space)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "phase 'everything': wanted epochs ≥ 1"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"epochs": 1, "warmup_epochs": 2}, "warmup_epochs ≤ epochs"),
        ({"largest": {"depth": 0}}, "largest counts choices, 1 or more; got {'depth': 0}"),
    ],
)
def test_wrong_phase(wrong, message):
    with pytest.raises(TrainingError, match=message):
        Curriculum([Phase(**wrong)])


def test_learning_rates_are_for_a_batch_size():
    phases = [Phase("one", epochs=1, learning_rate=0.8), Phase("two", epochs=2, learning_rate=0.2)]
    plain, scaled = Curriculum(phases), Curriculum(phases, batch_size=256)
    assert [plain.rate(step, 3, 64) for step in range(9)] == [
        *(phases[0].rate(step, 3) for step in range(3)),
        *(phases[1].rate(step, 3) for step in range(6)),
    ]
    assert [scaled.rate(step, 3, 64) for step in range(9)] == [plain.rate(step, 3, 1) / 4 for step in range(9)]


def test_wrong_curriculum():
    with pytest.raises(TrainingError, match="no phases"):
        Curriculum([])
    with pytest.raises(TrainingError, match="factor above 0, got -1"):
        Curriculum(scale=-1)
    with pytest.raises(TrainingError, match="different names, got one, one"):
        Curriculum([Phase("one"), Phase("one")])
    with pytest.raises(TrainingError, match="batch_size counts images, 1 or more; got 0"):
        Curriculum(batch_size=0)
