"""The entrance: help and lists import nothing heavy, and whatever is misspelt is answered with what was meant."""

import inspect
import shlex
import subprocess
import sys

import pytest
from PIL import Image

from elastic.errors import UsageError
from elastic.formats import FORMATS
from trainers.cli.commands import COMMANDS, find_command
from trainers.cli.completion import options
from trainers.cli.main import main
from trainers.jobs import words as checked

HEAVY = ("torch", "timm", "lightning", "transformers", "sklearn", "pymoo", "plotly", "huggingface_hub", "onnx")
OPENED = [
    [],
    ["--help"],
    ["--version"],
    ["zoo", "--help"],
    ["serch"],
    ["completion", "zsh"],
    ["zoo", "list"],
    ["zoo", "info", "ofa"],
    ["fit"],
    ["search"],
    ["search", "net", "--bugdet", "macs=1e6"],
    ["fit", "--config", "digit"],
    ["extract", "ofa_resnet50", "--arch", "smalest"],
    ["extract", "ofa_resnet50", "--arch", "nowhere.json"],
    ["extract", "ofa_resnet50", "--formats", "onx"],
    ["extract", "ofa_resnet50", "--device", "gpu"],
    ["extract", "ofa_resnet50", "--budget", "macs=2M"],
    ["extract"],
    ["export", "nope"],
    ["inspect", ""],
    ["profile", "nope"],
    ["search", "ofa_resnet50", "--budget", "2M"],
    ["search", "ofa_resnet50", "--budget", "macs<2M"],
    ["fit", "photos", "--modle", "x"],
    ["fit", "photos", "--epochs", "one"],
    ["fit", "photos", "--workers", "-1"],
    *([*name.split(), "--help"] for name in COMMANDS),
    *([*name.split(), "--help_all"] for name in COMMANDS if not COMMANDS[name].own_parser),
]


def test_help_and_every_mistake_in_words_import_nothing_heavy():
    code = (
        "import sys\n"
        "from trainers.cli.main import main\n"
        f"for words in {OPENED!r}:\n"
        "    main(words)\n"
        f"    found = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    assert not found, (words, found)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


NAMED = "ofa_mbv3_fashion_mnist"
SAID = {
    f"search {NAMED} --profile nope.json --data photos": "nope.json doesn't exist; wanted a device profile",
    f"search {NAMED} --budget mac=2M": "--budget mac: no such metric here; did you mean macs?",
    f"search {NAMED}": f"{NAMED} is a named supernet, which has no data of its own",
    f"attack {NAMED}": f"{NAMED} is a named supernet, which has no data of its own",
    f"extract {NAMED} --arch smallest --data nope": "--data nope doesn't exist; give a folder of images",
    f"extract {NAMED} --result nope.json": "nope.json doesn't exist; wanted a search result",
    f"extract {NAMED} --device cuda:x": "--device cuda:x: PyTorch can't compute on that here",
    "extract photos --arch smallest": "photos holds images; did you mean runs/photos?",
    "inspect photos": "photos holds images; did you mean runs/photos?",
    "export runs/photos": "runs/photos is a trained supernet; cut a subnet out first: elastic extract runs/photos",
    f"export {NAMED}": f"{NAMED} is a trained supernet; cut a subnet out first: elastic extract {NAMED}",
    f"profile check {NAMED} --profile nope": "nope doesn't exist; wanted a device profile",
    "fit photos --method digits --epochs 1": "--method digits brings phases of its own",
    "fit photos --method nope": "there is no configuration nope",
    "fit photos": "runs/photos holds supernet.json, and no last.ckpt to go on from",
    "fit photos --name=old": "runs/old/last.ckpt is of an earlier run; continue it with --ckpt_path last",
    "fit --config digits --name=old": "runs/old/last.ckpt is of an earlier run; continue it with --ckpt_path last",
    "fit --config digits --config {name: old}": "runs/old/last.ckpt is of an earlier run; continue it with --ckpt",
}


def test_a_mistake_in_files_or_folders_is_said_before_pytorch_is_imported(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "photos" / name / "0.png")
    for name, file in (("runs/photos", "supernet.json"), ("runs/old", "last.ckpt")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / file).write_text("{}")
    code = (
        "import io, re, sys\n"
        "from contextlib import redirect_stderr\n"
        "from trainers.cli.main import main\n"
        f"for words, said in {SAID!r}.items():\n"
        "    with redirect_stderr(io.StringIO()) as answer:\n"
        "        assert main(re.split(' (?!old)', words)) == 2, words\n"
        "    assert answer.getvalue().startswith(f'elastic: {said}'), (words, answer.getvalue())\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_formats_that_words_are_checked_against_are_those_there_are():
    assert tuple(FORMATS) == checked.FORMATS


@pytest.mark.parametrize("name", [name for name in COMMANDS if not COMMANDS[name].own_parser])
def test_every_option_is_explained(name):
    function = COMMANDS[name].function
    explained = inspect.getdoc(function)
    assert all(f"\n    {option}: " in explained for option in inspect.signature(function).parameters)


def test_help_is_a_word_too(capsys):
    assert main(["help"]) == main(["help", "zoo", "list"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: elastic [--debug] COMMAND")
    assert "usage: elastic zoo list" in shown


def test_a_file_that_is_no_text_is_said_in_a_sentence(tmp_path, capsys):
    (tmp_path / "image.png").write_bytes(b"\x89\xff")
    for words in (["search", "net"], ["fit"]):
        assert main([*words, "--config", str(tmp_path / "image.png")]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"elastic: {tmp_path / 'image.png'} should hold text (UTF-8), and holds something else")


def test_help_lists_every_command(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_on_a_screen_and_help_all_says_the_rest(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([*name.split(), "--help"]) == 0
    short = capsys.readouterr().out
    assert len(short.splitlines()) <= 45
    if COMMANDS[name].own_parser:
        return
    assert main([*name.split(), "--help_all"]) == 0
    whole = capsys.readouterr().out
    for option, parameter in inspect.signature(COMMANDS[name].function).parameters.items():
        assert option in whole
        assert (f"--{option} " in short) == (parameter.kind is not parameter.KEYWORD_ONLY and f"--{option} " in whole)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("serch", "search"),
        ("fti", "fit"),
        ("train", "fit"),
        ("evaluate", "validate"),
        ("Inspect", "inspect"),
        ("profle", "profile"),
        ("zo", "zoo"),
    ],
)
def test_a_misspelt_command_is_answered_with_the_nearest(word, meant):
    with pytest.raises(UsageError, match=f"no command '{word}'; did you mean {meant}\\?"):
        find_command([word])


def test_subcommands_are_found_before_commands():
    assert find_command(["profile", "check", "net"]) == ("profile check", ["net"])
    assert find_command(["profile", "net"]) == ("profile", ["net"])
    assert find_command(["zoo", "--help"]) == ("zoo", ["--help"])
    with pytest.raises(UsageError, match=r"there is no supernet 'chek'; did you mean elastic profile check\?"):
        find_command(["profile", "chek", "net"])
    with pytest.raises(UsageError, match=r"no command 'zoo lst'; did you mean zoo list\?"):
        find_command(["zoo", "lst"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "net", "--bugdet", "x"], "unrecognized arguments: --bugdet x; did you mean --budget?"),
        (["extract", "net", "--qqq"], "unrecognized arguments: --qqq; --help_all shows the options there are"),
        (["search"], "elastic search needs supernet: a trained supernet's folder; or a name that elastic zoo"),
        (["fit"], "fit needs a folder of images (elastic fit photos --model NAME), or --config: a YAML file, or a shi"),
        (["validate", "--ckpt_path", "last"], "validate needs a run's folder (elastic validate runs/digits), or"),
        (["fit", "--config", "digit"], "there is no configuration digit; did you mean digits"),
        (["fit", "--config", "."], ". is a folder, wanted a YAML file; images are trained on with elastic fit ."),
        (["fit", "--modle", "x"], "no option --modle; did you mean --model?"),
        (["fit", "photos", "--modle", "x"], "no option --modle; did you mean --model?"),
        (["fit", "--modle.sampler=x"], "no option --modle.sampler; did you mean --model.sampler"),
        (["validate", "--cnfig", "x"], "no option --cnfig; did you mean --config?"),
        (["--versoin"], "no option '--versoin'; did you mean --version?"),
        (["completion", "zsh", "all"], "unrecognized arguments: all; --help shows what there is"),
        (["completion", "fish"], '"shell": wanted bash or zsh, got fish'),
        (["search", "net", "--images", "x"], '"images": wanted a whole number, got x'),
        (["profile", "net", "--seed", "-1"], "--seed -1: wanted 0 or more"),
        (["inspect", "net", "--choices", "{depth: 1}"], '"choices": wanted a list such as [1, 2], got 1'),
        (["inspect", "net", "--choices", "{depth: [a]}"], '"choices": wanted a whole number or a number, got a'),
        (["zoo", "import", "ofa_resnet5"], "the zoo has no supernet 'ofa_resnet5'; did you mean ofa_resnet50"),
        (["extract", "net", "--formats", "onx"], "no format 'onx'; did you mean onnx"),
        (["extract", "ofa_resnet50", "--arch", "smalest"], "there is no arch 'smalest'; did you mean smallest?"),
        (
            ["extract", "ofa_resnet50", "--device", "gpu"],
            "--device gpu: PyTorch can't compute on that here; choose one of cpu, cuda",
        ),
        (["export", "nope"], "there is no folder nope; wanted an exported subnet (elastic extract writes one)"),
        (["export"], "elastic export needs folder: what elastic extract wrote; such as elastic export subnet"),
        (
            ["extract", "net", "--budget", "macs=2M"],
            "--budget belongs to another command: elastic search SUPERNET",
        ),
        (["inspect", ""], "the name of a folder is empty; wanted a supernet's description"),
        (["search", "ofa_resnet50", "--budget", "macs<2M"], "can't read the budget 'macs<2M'; write it as latency_ms"),
        (["extract", "ofa_resnet5"], "there is no folder ofa_resnet5, and no supernet of that name; did you mean ofa_"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_cure(words, said, capsys):
    assert main(words) == 2
    answer = capsys.readouterr().err
    assert answer.startswith(f"elastic: {said}")
    assert answer.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--modle.supernet.model", "resnet18"], "did you mean --model.supernet.model"),
        (["--config", "{model: {curiculum: {scale: 2}}}"], "did you mean --model.curriculum"),
        (["--model.sampler", "Sandwich"], "\"model.sampler\": no class 'Sandwich'; did you mean SandwichSampler?"),
        (["--model.sampler", "Sandwhich"], "\"model.sampler\": no class 'Sandwhich'; did you mean SandwichSampler?"),
        (["--data", "Digit"], "no class 'Digit'; did you mean Digits?"),
        (["--data", "data.yaml"], "data.yaml is no class; a YAML file is given with --config data.yaml"),
        (["--trainer.accelerator", "gpuu"], "invalid accelerator name"),
        (["--data.batch", "3"], "Option 'batch' is not accepted; did you mean batch_size?"),
    ],
)
def test_what_is_misspelt_in_a_training_names_what_is_near(words, said, config, capsys):
    assert main(["fit", "--config", str(config), *words]) == 2
    answer = capsys.readouterr().err
    assert said in answer
    assert answer.count("\n") == 1


def test_data_that_cannot_be_trained_on_is_refused_before_a_file_is_written(config, capsys):
    assert main(["fit", "--config", str(config), "--data.batch_size", "2000"]) == 2
    assert "don't fill a batch of 2000" in capsys.readouterr().err
    assert not (config.parent / "runs").exists()


def test_only_the_parser_of_the_command_is_built(monkeypatch):
    built = []
    monkeypatch.setattr(
        "trainers.lightning_cli.SupernetCLI.add_arguments_to_parser", lambda _, parser: built.append(parser)
    )
    assert main(["validate", "--help_all"]) == 0
    assert len(built) == 1


# --- completion -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["se"], "search"),
        (["profile", "ch"], "check"),
        (["zoo", "co"], "convert"),
        (["zoo", "info", "ofa_res"], "ofa_resnet50"),
        (["search", "net", "--bud"], "--budget"),
        (["profile", "kit", "net", "--thr"], "--threads"),
        (["fit", "--model.sam"], "--model.sampler"),
        (["extract", "net", "--arch", "sma"], "smallest"),
        (["extract", "net", "--arch", ""], "smallest largest"),
        (["export", "net", "--formats", "exec"], "executorch"),
        (["extract", "runs/di"], "runs/digits"),
        (["extract", "net", "--over"], "--overwrite"),
        (["search", "net", "--conf"], "--config"),
    ],
)
def test_the_shell_completes_commands_options_and_names(typed, completed, capsys, tmp_path):
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    words = shlex.join(["elastic", *typed])
    asked = f"{script}\nCOMP_WORDS=({words})\nCOMP_CWORD={len(typed)}\n_elastic\necho ${{COMPREPLY[@]}}\n"
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == completed.split()


def test_every_option_of_a_command_is_completed():
    assert {"--budget", "--robust_again", "--help_all"} <= set(options("search"))
    assert "--supernet" not in options("search")
    assert "--model.sampler" in options("fit")


@pytest.mark.parametrize(
    ("words", "holding", "no_folder"),
    [
        (["profile", "{}"], "supernet.json", "no folder {}, and no supernet of that name"),
        (["inspect", "./{}"], "supernet.json", "no folder ./{}, and no supernet of that name"),
        (["attack", "{}"], "supernet.json", "no folder {}, and no supernet of that name"),
        (["extract", "{}"], "supernet.json", "no folder {}, and no supernet of that name"),
        (["export", "{}"], "config.json", "no folder {}"),
        (["validate", "{}"], "config.yaml", "no folder {}"),
    ],
)
def test_a_folder_that_does_not_exist_is_answered_with_those_there_are(
    words, holding, no_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)

    def said(place: str) -> str:
        assert main([word.format(place) for word in words]) == 2
        return capsys.readouterr().err.replace("\\", "/")

    assert said("nope/x").startswith(f"elastic: there is {no_folder.format('nope/x')}; wanted ")
    for name in ("flowers", "digits_wide"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / holding).write_text("{}")
    for place, meant in (("flower", "flowers"), ("runs/flowrs", "flowers"), ("digit_wide", "digits_wide")):
        assert said(place) == f"elastic: there is {no_folder.format(place)}; did you mean runs/{meant}?\n"
    assert "runs/flowers" in (answer := said("nope/x"))
    assert "runs/digits_wide" in answer
