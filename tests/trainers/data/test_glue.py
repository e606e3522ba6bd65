"""GLUE: its nine tasks from files, batches of text, and what doesn't fit."""

from types import SimpleNamespace

import pytest
import torch
from scipy.stats import spearmanr

import elastic
from elastic.errors import TrainingError
from trainers.data.glue import Glue
from trainers.data.glue_tasks import TASKS, read_task
from trainers.data.loading import EpochOrder
from trainers.data.metrics import answers, make_metric
from trainers.data.supernet_data import HELD_OUT
from trainers.data.text import Collator, Texts, WordReplacer, load_tokenizer
from trainers.jobs.judge import Judge

transformers = pytest.importorskip("transformers")

ROWS = {
    "cola": ["gj04\t1\t\tThe sailors rode .", "cj99\t0\t*\tMost you want ."],
    "sst2": ["sentence\tlabel", "a charming film \t1", "bleak and desperate \t0"],
    "mrpc": ["\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String", "1\t1\t2\ta b\tb a", "0\t3\t4\ta\tz"],
    "stsb": [
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        "0\tg\tf\ty\t1\ts\ts\tA plane .\tA jet .\t4.200",
        "1\tg\tf\ty\t1\ts\ts\tA man .\tA dog .\t0.500",
    ],
    "qqp": ["id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "0\t1\t2\tW ?\tW now ?\t1", "1\t1\t2\tA ?\tB ?\t0"],
    "mnli": ["\t".join("abcdefgh") + "\tsentence1\tsentence2\tgold_label"]
    + ["\t".join("01234567") + "\tIt rains .\tIt is wet .\t" + label for label in ("entailment", "contradiction")],
    "qnli": ["index\tquestion\tsentence\tlabel", "0\tWho ?\tHe .\tentailment", "1\tWho ?\tIt .\tnot_entailment"],
    "rte": ["index\tsentence1\tsentence2\tlabel", "0\tA .\tB .\tnot_entailment", "1\tA .\tA .\tentailment"],
    "wnli": ["index\tsentence1\tsentence2\tlabel", "0\tA .\tB .\t1", "1\tA .\tC .\t0"],
}
LABELS = {"stsb": [4.2, 0.5], "mnli": [0, 2], "qnli": [0, 1], "rte": [1, 0]}
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "film", "the", "##s", "."]


@pytest.fixture
def folder(tmp_path):
    for name, rows in ROWS.items():
        path = tmp_path / TASKS[name].folder
        path.mkdir()
        (path / "train.tsv").write_text("\n".join(rows) + "\n", "utf-8")
        (path / ("dev_matched.tsv" if name == "mnli" else "dev.tsv")).write_text("\n".join(rows) + "\n", "utf-8")
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return tmp_path


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_read_from_its_files(name, folder):
    for split in ("train", "dev"):
        examples = read_task(name, split, folder)
        assert [label for *_, label in examples] == LABELS.get(name, [1, 0])
        assert all((second is not None) == (len(TASKS[name].fields) == 2) for _, second, _ in examples)
        assert all(first == first.strip() != "" for first, *_ in examples)


def test_a_line_ends_at_a_line_feed_and_nowhere_else(folder):
    rows = ["sentence\tlabel", "a\u2028film\t1", "a\u0085 plot\x0b .\t0"]
    (folder / "SST-2" / "train.tsv").write_bytes("\r\n".join(rows).encode())
    wanted = [("a\u2028film", None, 1.0), ("a\u0085 plot\x0b .", None, 0.0)]
    assert read_task("sst2", "train", folder) == wanted


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_text_in_another_encoding_is_refused(encoding, folder):
    rows = ["sentence\tlabel", "g\u00f6\u00f6d\t1"]
    (folder / "SST-2" / "train.tsv").write_bytes("\n".join(rows).encode(encoding))
    with pytest.raises(TrainingError, match=r"train.tsv isn't text in UTF-8"):
        read_task("sst2", "train", folder)


def test_lines_that_end_in_carriage_returns_alone_are_refused(folder):
    (folder / "SST-2" / "train.tsv").write_bytes(b"sentence\tlabel\rgood\t1\rbad\t0\r")
    with pytest.raises(TrainingError, match="its lines end in carriage returns alone; save it with line feeds"):
        read_task("sst2", "train", folder)


@pytest.mark.parametrize("label", ["nan", "inf", "-inf", "x", ""])
def test_a_label_that_is_no_number_is_refused(label, folder):
    (folder / "STS-B" / "train.tsv").write_text("\t" * 9 + "\n" + "\t".join(["a"] * 9 + [label]) + "\n")
    with pytest.raises(TrainingError, match=r"train.tsv, line 2: the label is "):
        read_task("stsb", "train", folder)


def test_files_that_are_something_else_are_refused(folder):
    with pytest.raises(TrainingError, match=r"GLUE has no task 'sst3'; it has cola, sst2"):
        read_task("sst3", "train", folder)
    with pytest.raises(TrainingError, match=r"there is no .*SST-2/train.tsv; --data.root is a folder with GLUE's"):
        read_task("sst2", "train", folder / "nowhere")
    (folder / "RTE" / "train.tsv").write_text("\n".join(ROWS["sst2"]))
    with pytest.raises(TrainingError, match=r"train.tsv, line 2 has 2 columns, RTE more; is it another task's file"):
        read_task("rte", "train", folder)
    (folder / "RTE" / "train.tsv").write_text("\n".join(ROWS["wnli"]))
    with pytest.raises(TrainingError, match=r"line 2: the label is '1', RTE has entailment, not_entailment"):
        read_task("rte", "train", folder)


def test_batches_are_padded_to_their_longest_text_and_cut_at_the_maximum(folder):
    collate = Collator(load_tokenizer(str(folder / "vocab.txt")), max_length=5)
    inputs, labels = collate([(("a film", None), 1), (("a", None), 0)])
    assert inputs["input_ids"].tolist() == [[2, 5, 7, 3], [2, 5, 3, 0]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert labels.tolist() == [1, 0]
    assert labels.dtype == torch.int64
    inputs, labels = collate([(("a a a a a a", "b b b b"), 0.5)])
    assert inputs["input_ids"].shape == (1, 5)
    assert labels.dtype == torch.float32


def test_words_are_left_out_by_chance_but_never_all():
    torch.manual_seed(0)
    texts = Texts([("one two three four five six", None, 1.0)], numbers=False, replacer=WordReplacer(0.5))
    seen = {texts[0][0][0] for _ in range(50)}
    assert len(seen) > 10
    assert all(words and set(words.split()) <= {"one", "two", "three", "four", "five", "six"} for words in seen)
    assert WordReplacer(0.999)("one") == "one"
    with pytest.raises(TrainingError, match=r"replace_words is a probability of 0 or more and below 1, got 1"):
        WordReplacer(1.0)


def test_an_order_by_length_is_a_shuffle_that_can_be_continued():
    lengths = [int(n) for n in torch.randint(1, 40, (1003,), generator=torch.Generator().manual_seed(0))]
    place = [None]

    def order(epoch):
        one = EpochOrder(list(range(1003)), 2, 1, 7, lambda: place[0], lengths, 10)
        one.set_epoch(epoch)
        return list(one)

    first = order(0)
    assert len(first) == len({index for _, index in first}) == 501
    assert first == order(0)
    assert [index for _, index in first] != [index for _, index in order(1)]
    batches = [[lengths[index] for _, index in first[at : at + 10]] for at in range(0, 500, 10)]
    assert sum(max(batch) - min(batch) for batch in batches) / len(batches) < 4  # 35 or so if they were drawn at random
    place[0] = (0, 130)
    assert order(5) == first[130:]


def test_the_splits_share_no_text_and_the_dev_split_is_the_test(folder):
    rows = ["sentence\tlabel", *(f"a film {number}\t{number % 2}" for number in range(100))]
    (folder / "SST-2" / "train.tsv").write_text("\n".join(rows))
    data = Glue("sst2", str(folder), str(folder / "vocab.txt"), 16, 0.2, batch_size=4)
    splits = data.splits
    held_out, trained = ({one for (one, _), _ in split} for split in (splits.val, splits.train))
    assert (len(held_out), len(trained), len(splits.test)) == (20, 80, 2)
    assert not held_out & trained
    assert len(list(data.held_out_batches())) == min(5, HELD_OUT)


def test_a_model_that_does_not_fit_is_refused(folder):
    def data(**options):
        given = {"task": "sst2", "root": str(folder), "tokenizer": str(folder / "vocab.txt"), "max_length": 16}
        return Glue(**{**given, **options})

    def supernet(**options):
        args = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
        args |= {"intermediate_size": 8, "max_position_embeddings": 16, **options}
        return elastic.supernet.source.SupernetSource("transformers:bert", args).build()

    data().check(supernet())
    data(task="stsb").check(supernet(num_labels=1))
    for made, fitting, message in (
        (supernet(vocab_size=10), data(), r"has 11 pieces, the model reads 10; give the model's own"),
        (supernet(max_position_embeddings=8), data(), "max_length 16: the model reads 8 tokens at most"),
        (supernet(num_labels=3), data(), r"2 class\(es\), the model 3: set num_labels \(num_classes of .*\) in"),
        (supernet(pad_token_id=1), data(), r"pads with 0, the model takes 1 for padding: they don't belong together"),
        (supernet(), data(task="stsb"), r"stsb has 1 class\(es\), the model 2"),
        (SimpleNamespace(model=torch.nn.Identity(), recipe=elastic.Recipe({}, {})), data(), "Identity doesn.t read t"),
    ):
        with pytest.raises(TrainingError, match=message):
            fitting.check(made)
    with pytest.raises(TrainingError, match="there is no tokenizer"):
        _ = data(tokenizer=str(folder / "nothing")).tokenizer
    with pytest.raises(TrainingError, match="val_fraction is a share between 0 and 1, got 1"):
        data(val_fraction=1.0)
    for length in (0, 2):
        with pytest.raises(TrainingError, match=f"max_length {length}: .* wanted 3 or more"):
            data(max_length=length)
    with pytest.raises(TrainingError, match=r"replace_by bert .* --data.replace_words, which is 0; set that to 0.1"):
        data(replace_by="bert")


@pytest.mark.parametrize(
    ("name", "said", "labels", "expected"),
    [
        ("accuracy", [0, 1, 1, 0], [0, 1, 0, 0], 0.75),
        ("f1", [0, 1, 1, 0], [0, 1, 0, 0], 2 / 3),
        ("matthews", [0, 1, 1, 0], [0, 1, 0, 0], 1 / 3**0.5),
        ("pearson", [0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 5.0], 0.9562),
        ("spearman", [0.0, 1.0, 2.0, 3.0], [0.0, 10.0, 20.0, 15.0], 0.8),
    ],
)
def test_metrics_are_those_of_their_definitions(name, said, labels, expected):
    numbers = name in ("pearson", "spearman")
    logits = torch.tensor(said)[:, None] if numbers else torch.nn.functional.one_hot(torch.tensor(said)).float()
    metric = make_metric(name, 1 if numbers else 2)
    metric.update(answers(logits), torch.tensor(labels))
    assert float(metric.compute()) == pytest.approx(expected, abs=1e-3)


def test_a_metric_of_another_kind_of_task_is_refused():
    with pytest.raises(TrainingError, match=r"no metric 'bleu'; choose one of accuracy, f1"):
        make_metric("bleu", 2)
    with pytest.raises(TrainingError, match=r"f1 is for models that predict two classes; this one has 3"):
        make_metric("f1", 3)
    with pytest.raises(TrainingError, match=r"spearman is for models that predict a number; this one has 2"):
        make_metric("spearman", 2)


def test_only_models_that_tell_token_types_apart_are_given_any(folder, tmp_path):
    """GPT-2 would add the embedding of a word to each token."""
    small = {"vocab_size": 11, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8, "pad_token_id": 0}
    for kind, options in (("bert", {"intermediate_size": 8}), ("gpt2", {})):
        args = {**small, **options, "max_position_embeddings": 16, "bos_token_id": 2, "eos_token_id": 3}
        supernet = elastic.supernet.source.SupernetSource(f"transformers:{kind}", args, options={"length": 16}).build()
        data = Glue("sst2", str(folder), str(folder / "vocab.txt"), 16, 0.5, batch_size=1)
        data.check(supernet)
        given, _ = next(iter(data.val_dataloader()))
        assert ("token_type_ids" in given) == (kind == "bert")
        data.save_preprocessing(tmp_path / kind)
        saved = transformers.AutoTokenizer.from_pretrained(tmp_path / kind)
        assert set(saved("a film")) == set(given)


def test_words_are_replaced_by_what_a_masked_language_model_says(folder):
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    torch.manual_seed(0)
    small = {"vocab_size": len(PIECES), "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertForMaskedLM(BertConfig(**small, intermediate_size=8, max_position_embeddings=32))
    with torch.no_grad():  # it says "film", then "b", whatever it reads
        model.cls.predictions.bias[PIECES.index("film")] = 100.0
        model.cls.predictions.bias[PIECES.index("b")] = 90.0
    model.save_pretrained(folder / "mlm")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "mlm")
    replaced = WordReplacer(0.5, str(folder / "mlm"), candidates=2)("a the a the a the a the")
    assert len(replaced.split()) == 8
    assert {"film", "b"} & set(replaced.split())
    assert set(replaced.split()) <= {"a", "the", "film", "b"}
    long = WordReplacer(0.5, str(folder / "mlm"), candidates=2)(" ".join(["a"] * 100))  # the model reads 32 tokens
    assert len(long.split()) == 100


def test_a_search_judges_by_the_task_s_metric(folder):
    rows = ["index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"]
    rows += [f"{at}\tg\tf\ty\t1\ts\ts\ta film {'the ' * (at % 5)}\tb\t{at % 5}.0" for at in range(60)]
    (folder / "STS-B" / "train.tsv").write_text("\n".join(rows))
    args = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "num_labels": 1}
    args |= {"intermediate_size": 8, "max_position_embeddings": 16}
    supernet = elastic.supernet.source.SupernetSource("transformers:bert", args).build().eval()
    judge = Judge(supernet, Glue("stsb", str(folder), str(folder / "vocab.txt"), 16, 0.5, batch_size=8))
    metrics = judge.validation(supernet.space.largest)
    said = torch.cat([supernet(**inputs).logits[:, 0] for inputs, _ in judge.validation.validation]).detach()
    labels = torch.cat([labels for _, labels in judge.validation.validation])
    assert metrics == {"spearman": pytest.approx(100 * spearmanr(said, labels).statistic, abs=1e-3)}
