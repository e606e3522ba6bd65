"""DynaBERT's stages, on a tiny BERT and made-up reviews: end to end, and each stage's gradient against the slow way."""

import copy
import json
import random

import pytest
import torch
import yaml
from examples import mostly_swept
from forked import killed
from torch.nn import functional as F
from watching import Watch, fit

import elastic
from elastic.formats.onnx_files import open_onnx, run_onnx
from elastic.profiles.blocks import find_blocks
from elastic.supernet.folder import load_supernet
from elastic.supernet.source import SupernetSource
from trainers.checkpoints import read_checkpoint
from trainers.cli.main import main
from trainers.data.glue import Glue
from trainers.methods.curriculum import Curriculum, Phase
from trainers.methods.distillers import AlphaDivergence, NoDistiller, SoftTargets
from trainers.methods.hidden_states import HiddenStates
from trainers.methods.optimizers import OptimizerOptions
from trainers.methods.samplers import RoundRobinSampler, SamplingContext, UniformSampler
from trainers.methods.teacher_outputs import BatchTeacher, full_depth, recorded
from trainers.methods.teachers import SnapshotTeacher
from trainers.steps.options import StepOptions
from trainers.steps.step_state import OptimizerStep
from trainers.supernet_module import SupernetModule

AutoTokenizer = pytest.importorskip("transformers").AutoTokenizer

GOOD, BAD, REST = ("charming", "great", "fun"), ("bleak", "dull", "bad"), ("a", "film", "the", "plot", "is", "and")
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *REST]
TINY = {
    "vocab_size": len(PIECES), "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 4,
    "intermediate_size": 32, "max_position_embeddings": 16, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
SOURCE = SupernetSource("transformers:bert", TINY, recipe="dynabert")


@pytest.fixture
def folder(tmp_path):
    rng = random.Random(0)
    sst2, cola = tmp_path / "SST-2", tmp_path / "CoLA"
    for split, n in (("train", 200), ("dev", 40)):
        rows = []
        for _ in range(n):
            label = rng.random() < 0.5
            words = [rng.choice(REST) for _ in range(rng.randint(1, 9))] + [rng.choice(GOOD if label else BAD)]
            rng.shuffle(words)
            rows.append((" ".join(words), int(label)))
        for path, lines in (
            (sst2, ["sentence\tlabel", *(f"{words}\t{label}" for words, label in rows)]),
            (cola, [f"book\t{label}\t\t{words}" for words, label in rows]),
        ):
            path.mkdir(exist_ok=True)
            (path / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return tmp_path


def texts(folder, **options):
    return Glue("sst2", str(folder), str(folder / "vocab.txt"), 16, 0.2, batch_size=16, **options)


def moment(supernet, step=0):
    return SamplingContext(supernet.space, supernet.macs, 0, step)


def module_of(curriculum, **options):
    torch.manual_seed(0)
    given = {"teacher": SnapshotTeacher({"finetune": "full", "width": "student"})}
    given |= {"optimizer": OptimizerOptions("adamw", clip_value=None), "step": StepOptions(dropout="all")}
    return SupernetModule(SOURCE, curriculum, distiller=HiddenStates(weight=0.5), **{**given, **options})


CONFIGS = ("dynabert", "dynabert_sst2", "dynabert_cola", "glue_sandwich")
STAGES = Curriculum(
    [
        Phase("finetune", 1, 1e-2, largest={"*": 1}, sampler=UniformSampler(1), distiller=NoDistiller()),
        Phase("width", 1, 1e-3, largest={"depth": 1}, sort="taylor", sampler=RoundRobinSampler(4), schedule="linear"),
        Phase("both", 1, 1e-3, sampler=RoundRobinSampler(12)),
    ]
)


def test_a_space_is_gone_round_from_the_largest_on():
    supernet = SOURCE.build()
    assert supernet.space.size == 12
    drawn = [RoundRobinSampler(12).sample(moment(supernet), k) for k in range(12)]
    assert drawn[0] == supernet.space.largest
    assert drawn[-1] == supernet.space.smallest
    assert len(set(drawn)) == 12
    turns = [RoundRobinSampler(5).sample(moment(supernet, step), k) for step in range(12) for k in range(5)]
    assert all(turns.count(arch) == 5 for arch in drawn)
    free = SupernetSource("transformers:bert", {**TINY, "num_hidden_layers": 12}).build()
    with pytest.raises(elastic.errors.TrainingError, match="too many to train in turn"):
        RoundRobinSampler(4).sample(moment(free), 0)


def test_the_teacher_of_the_second_stage_is_as_wide_as_its_student(folder):
    supernet = SOURCE.build().eval()
    inputs, _ = next(iter(texts(folder).val_dataloader()))
    teaching = BatchTeacher(supernet, inputs, "bert.encoder.layer", as_wide=True)
    for arch in supernet.space.sample(0, 6):
        wide = full_depth(supernet, arch)
        assert wide == {**arch, "depth": 4}
        with torch.no_grad(), supernet.active(wide), recorded(supernet.model, "bert.encoder.layer") as states:
            expected = supernet(**inputs).logits
        lesson = teaching(arch)
        torch.testing.assert_close(lesson.logits, expected)
        assert len(lesson.states) == 5
        torch.testing.assert_close(lesson.states, states)
    assert len(teaching._outputs) == 4


def test_each_stage_has_its_teacher_losses_and_subnets(folder):
    module = module_of(STAGES)
    seen = []

    def after(module):
        gradients = {name: p.grad.clone() for name, p in module.supernet.model.named_parameters()}
        seen.append((gradients, copy.deepcopy(module.teaching.state_dict())))

    before = []

    class Look(Watch):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            """Nothing of what it keeps of images."""

        def on_before_optimizer_step(self, trainer, module, optimizer):
            before.append((copy.deepcopy(module.supernet), list(module.steps.current.archs)))

    watch = Look(after=after)
    fit(module, watch, texts(folder), max_epochs=3, limit_train_batches=1)
    (fine, archs_1), (wide, archs_2), (both, archs_3) = before
    assert [len(archs_1), len(archs_2), len(archs_3)] == [1, 4, 12]
    # the first teacher is the fine-tuned network, whatever was sorted since; the second the network of stage 2
    inputs, _ = next(iter(texts(folder).val_dataloader()))
    assert {arch["depth"] for arch in archs_2} == {4}
    assert {arch["depth"] for arch in archs_3} == {2, 3, 4}
    for name, tensor in both.state_dict().items():
        assert torch.equal(seen[2][1][name], tensor), name
    assert module.plan.teacher.is_as_wide("width")
    assert not module.plan.teacher.is_as_wide("finetune")
    taught = copy.deepcopy(wide)
    taught.load_state_dict(seen[1][1])
    torch.testing.assert_close(taught.eval()(**inputs).logits, wide.eval()(**inputs).logits, rtol=1e-4, atol=1e-5)
    assert not torch.equal(fine.model.classifier.weight, wide.model.classifier.weight)
    # the units of stage 2 are in the order of importance on held-out texts, which isn't that of the fine-tuned network
    held_out = list(texts(folder).held_out_batches())
    for name, scores in elastic.importance(wide, "taylor", held_out).items():
        assert scores.any(), name
        torch.testing.assert_close(scores, scores.sort(descending=True).values, rtol=1e-3, atol=1e-7)
    before_sorting = elastic.importance(fine, "taylor", held_out)
    assert any(not torch.equal(scores, scores.sort(descending=True).values) for scores in before_sorting.values())


def test_the_gradient_of_the_second_stage_is_that_of_the_papers_loss(folder):
    module = module_of(STAGES)
    module.teaching = copy.deepcopy(module.supernet).eval()
    supernet, stack = module.supernet.train(), "bert.encoder.layer"
    inputs, labels = next(iter(texts(folder).val_dataloader()))
    teaching = BatchTeacher(module.teaching, inputs, stack, as_wide=True)
    module.steps.gradients.backward = torch.Tensor.backward
    step = OptimizerStep(0, archs=[RoundRobinSampler(12).sample(moment(supernet), k) for k in range(12)])
    module.steps.gradients.accumulate(step, inputs, labels, supernet.space.largest, module.plan.losses[-1], teaching)
    ours = {name: p.grad.clone() for name, p in supernet.model.named_parameters() if p.grad is not None}
    supernet.zero_grad()
    for arch in step.archs:
        with torch.no_grad():
            teacher = module.teaching.extract({**arch, "depth": 4})(**inputs, output_hidden_states=True)
        with supernet.active(arch):
            student = supernet(**inputs, output_hidden_states=True)
            loss = -(teacher.logits.softmax(1) * student.logits.log_softmax(1)).sum(1).mean()
            m = len(student.hidden_states) - 1
            for k, state in enumerate(student.hidden_states):
                loss = loss + 0.5 * F.mse_loss(state, teacher.hidden_states[k * 4 // m])
            loss.backward()
    for name, parameter in supernet.model.named_parameters():
        if name in ours:
            torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_a_number_is_learned_from_the_teacher_s_or_from_labels():
    logits, labels = torch.randn(4, 1, requires_grad=True), torch.tensor([0.5, 1.0, 2.0, 4.0])
    teacher = torch.randn(4, 1)
    from_teacher, from_labels = (((logits[:, 0] - goal) ** 2).mean() for goal in (teacher[:, 0], labels))
    for distiller in (SoftTargets(), SoftTargets(temperature=4.0), AlphaDivergence()):
        torch.testing.assert_close(distiller.loss(logits, labels, teacher), from_teacher)
        torch.testing.assert_close(distiller.loss(logits, labels, None), from_labels)
    both = SoftTargets(teacher_weight=0.5, label_weight=2.0).loss(logits, labels, teacher)
    torch.testing.assert_close(both, 0.5 * from_teacher + 2 * from_labels)
    assert HiddenStates().loss(logits, labels, teacher).item() == 0  # as DynaBERT has it
    torch.testing.assert_close(HiddenStates(SoftTargets()).loss(logits, labels, teacher), from_teacher)
    torch.testing.assert_close(NoDistiller().loss(logits, labels, teacher), from_labels)


def configuration(config, folder, **model):
    """A YAML file that makes a shipped configuration tiny."""
    data = {"root": str(folder), "val_fraction": 0.2, "batch_size": 16}
    given = {"model": model, "data": {"init_args": data}}
    if config in ("dynabert", "glue_sandwich"):
        tiny = {"model": "transformers:bert", "model_args": TINY, "recipe": "dynabert"}
        if config == "glue_sandwich":  # a model without a recipe of its own
            tiny = {"model": "transformers:deberta-v2", "model_args": TINY}
        given["model"] = {"supernet": tiny, **model}
        data |= {"tokenizer": str(folder / "vocab.txt"), "max_length": 16}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(given))
    short = ["--model.curriculum.scale", "0.01", "--trainer.enable_progress_bar", "false"]
    short += ["--trainer.log_every_n_steps", "1", "--runs", str(folder)]
    return ["fit", "--config", config, "--config", str(path), *short]


def test_killed_in_any_stage_and_resumed_it_ends_with_the_same_weights(folder):
    words = [*configuration("dynabert", folder), "--trainer.limit_train_batches", "3", "--data.replace_words", "0.3"]
    assert main([*words, "--name", "whole"]) == 0
    run = [*words, "--name", "killed", "--checkpoint_every", "2"]
    killed(run, "trainers.steps.step_runner.StepRunner._end", 5)  # in the second stage
    killed([*run, "--ckpt_path", "last"], "trainers.steps.step_runner.StepRunner._end", 4)  # in the third
    assert main([*run, "--ckpt_path", "last"]) == 0
    one, other = (read_checkpoint(folder / name / "last.ckpt")["state_dict"] for name in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("config", mostly_swept(CONFIGS, ["dynabert", "glue_sandwich"]))
def test_a_configuration_trains_and_what_it_trains_is_cut_out(config, folder, tmp_path, capsys):
    words = [*configuration(config, folder), "--trainer.limit_train_batches", "2", "--name", "one"]
    if config == "dynabert_cola":
        words[1:1] = ["--config", "dynabert_sst2"]
    assert main(words) == 0, capsys.readouterr().err
    shown = capsys.readouterr().out
    assert all(phase in shown for phase in ("finetune", "sandwich" if config == "glue_sandwich" else "width"))
    small, formats = tmp_path / "small", "onnx" if config == "dynabert_sst2" else "safetensors"  # the others' are alike
    assert main(["extract", str(folder / "one"), "--arch", "smallest", "--out", str(small), "--formats", formats]) == 0
    # what is in the folder is all that it takes
    tokens = AutoTokenizer.from_pretrained(small)(["a film", "the plot is dull"], padding=True, return_tensors="pt")
    model, _ = elastic.load_subnet(small)
    about, made = json.loads((small / "config.json").read_text()), load_supernet(folder / "one")
    assert about["input_size"] == list(made.input_shape())
    assert about["metrics"]["macs"] == made.macs([made.space.smallest])[0]
    assert model(**tokens).logits.isfinite().all()
    if formats == "onnx":
        session = open_onnx(small / "model.onnx")
        logits = run_onnx(session, [tokens[one.name] for one in session.get_inputs()])[0]
        torch.testing.assert_close(torch.from_numpy(logits), model(**tokens).logits, rtol=1e-4, atol=1e-5)


def test_a_fourth_phase_fine_tunes_with_the_labels(folder, capsys):
    words = [*configuration("dynabert", folder), "--config", "dynabert_finetune", "--trainer.limit_train_batches", "2"]
    assert main([*words, "--name", "four"]) == 0, capsys.readouterr().err
    values = yaml.safe_load((folder / "four" / "config.yaml").read_text())
    phases = values["model"]["curriculum"]["phases"]
    assert [phase["name"] for phase in phases] == ["finetune", "width", "width_and_depth", "labels"]
    assert phases[-1]["distiller"]["class_path"].endswith("NoDistiller")
    assert read_checkpoint(folder / "four" / "last.ckpt")["global_step"] == 8


def test_a_text_model_is_profiled_by_whole_subnets():
    supernet = SOURCE.build().eval()
    profile = elastic.measure_profile(supernet, subnets=8, time_limit=0.1)
    assert len(profile.subnets) == 8
    assert profile.blocks == ()
    assert (profile.latency_ms(supernet, supernet.space.sample(0, 3)) > 0).all()
    with pytest.raises(elastic.errors.ProfileError, match=r"called with more than tensors, .*; measure whole subnets"):
        find_blocks(supernet)
