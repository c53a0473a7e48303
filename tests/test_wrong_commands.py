"""Hundreds of wrong command lines, made from the parsers: each is one message that names the mistake, and exit code 2.

An option that is new to a parser is tried with wrong values from the day that it is there: by its type, or by `VALUES`.
"""

import argparse
import functools
import os
import shlex
import subprocess
import sys

import pytest

from minilift import cli, download
from minilift.checks import equations
from minilift.course import notebooks
from minilift.network import Network
from minilift.support import options

# Lines that are not yet refused as they should be, by their beginnings, and where that is to be mended.
KNOWN_FAILURES: dict[str, tuple] = {}

WORDS = ("", " ", "nonsense", "σ٣", "x" * 3000)
SEEDS = ("", "-1", "three", "1.5", "nan", "٣", "1_0", "1e3", "0x10", "9" * 5000)
COUNTS = (*SEEDS, "0")
NUMBERS = ("", "-1", "0", "three", "nan", "inf", "٣", "1_0", "1e999")
HUGE = ("1" + 30 * "0",)
NO_NOTEBOOK = "99"
NO_FILES = ("", "nowhere/at/all", "binary.bin", "folder", "x" * 3000)  # to be read
NO_TARGETS = ("", "binary.bin/inside", "x" * 3000)  # to be written into
NO_METHODS = ("nowhere.py:f", "folder:f", "binary.py:f", "binary.bin:f", "raises.py:f", "exits.py:f", "typo.py:f",
              "good.py:nothing", "good.py:", ":f", "good.py:Wants", "good.py:Raises", "good.py:Hostile", "good.py:text")
# By command and option, where the type alone does not say what is wrong for it.
VALUES = {
    "compare --data": (*WORDS, "moons:seed=-1", "moons:seed=1.5", "moons:seed=None", "moons:n=5", "moons:n=2.5",
                       "moons:n=999999999999", "moons:noise=-1", "moons:noise=nan", "moons:noise=1e39", "moons:noise=x",
                       "moons:n", "mnist:folder=5", "mnist:folder=~nobody-of-this-name", "curves:n_train=1000000000000",
                       "curves:n_test=0", "curves:seed=x", "spirals:classes=1", "spirals:classes=1000000000000",
                       "teacher:widths=5", "teacher:widths='abc'", "teacher:widths=(2,3", "teacher:widths=(2,3)",
                       "teacher:noise=True", "mine.csv", "nowhere.npz:n=3"),
    "compare --layers": ("", "64", "64,,10", "64,a,10", "64,-1,10", "64,0,10", "64,1.5,10", "63,5,10", "64,٥,10",
                         "64,100000000,100000000,10"),
    "compare --steps": ("", "0", "-1", "a", "0.1,,1", "nan", "inf", "0.1,٣"),
    "compare --methods": (*WORDS, *NO_METHODS, "proxprop:", "proxprop:tau_theta=-1", "proxprop:tau_theta=1j",
                          "proxprop:tau_theta=[]", "proxprop:solver=cg0", "proxprop:solver=cg٣", "proxprop:joint=yes"),
    "compare --optimizer": (*WORDS, "sgd:lr=1", "nesterov:momentum=2", "nesterov:momentum=x", "adam:beta_1=[]"),
    "compare --threads": (*COUNTS, *HUGE), "compare --repeats": (*COUNTS, *HUGE), "compare --samples": COUNTS,
    "compare --output": (*NO_TARGETS, "nowhere/x.png", "x.pgn", "folder"),
    "compare --seed": SEEDS,
    "train --seed": SEEDS, "train --output": NO_TARGETS, "train --checkpoint": NO_TARGETS,
    "train --method": (*WORDS, *NO_METHODS, "proxprop:tau_theta=-1"), "train --optimizer": (*WORDS, "sgd:lr=1"),
    "bench --rounds": (*COUNTS, *HUGE), "bench --threads": (*COUNTS, *HUGE),
    "bench --data": NO_FILES, "bench --output": NO_TARGETS,
    "reproduce --jobs": ("", "0", "three", "1.5", "٣", *HUGE), "reproduce --threads": (*COUNTS, *HUGE),
    "reproduce --seeds": (*COUNTS, *HUGE),
    "reproduce --data": NO_FILES, "reproduce --output": (*NO_TARGETS, "binary.bin"),
    "reproduce --write": (*NO_FILES, "notes.md"),
    "verify target": (*WORDS, *NO_METHODS), "verify --seed": SEEDS, "verify --like": (*WORDS, *NO_METHODS),
    "verify --objective": (*WORDS, *NO_METHODS), "verify --net": (*WORDS, *NO_METHODS),
    "verify --jobs": (*COUNTS, *HUGE),
    "equations --write": (*NO_FILES, "notes.md"), "equations filter": ("", "nonsense words", "99", "٣"),
    "data fetch name": (*WORDS, "digit", "digits.npz"),
    "tutorials directory": NO_TARGETS,
    "teach student directory": NO_TARGETS, "teach student names": (*WORDS, "0", NO_NOTEBOOK, "²"),
    "teach book directory": NO_TARGETS, "docs --output": NO_TARGETS,
    "teach grade notebook": (*NO_FILES, "notes.md"), "teach grade --seed": SEEDS, "teach grade --json": NO_TARGETS,
    "teach kit directory": NO_TARGETS, "teach kit --seed": SEEDS,
    "teach build names": (*WORDS, "0", NO_NOTEBOOK, "²"),
}
# What else a command needs, so that one wrong value is all that is wrong with the line.
REST = {"bench": ["step"], "reproduce": ["proxprop-table1"], "tutorials": ["--no-browser"], "teach student": ["out"],
        "teach grade": ["good.ipynb"]}
# Command lines that users of scikit-learn, Keras and PyTorch try first, by what the error must name; those under ""
# begin their work.
GUESSES = {
    "'--step'": ["train --learning-rate 0.1", "train --learning_rate 0.1", "train --learning_rate=0.1",
        "train --eta 0.1", "train --lr=0.1", "train --step-size 0.1", "train --steps 0.1"],
    "proxprop:tau_theta=": ["train --tau 0.1", "compare --tau-theta 0.1"],
    "": ["compare --epochs=5", "compare --layers=64,32,10", "train --optimizer sgd", "train --output model.pt",
        "train --output model.h5", "train --output model", "train --help", "compare --steps 1e-2,1", "equations prox",
        "verify ./mine.py:f", "help train"],
    "'--epochs'": ["compare --n-epochs 5", "train --max_iter 5", "train --num_epochs=5", "train --iterations 5",
        "train -e 5"],
    "'--batch'": ["train -b 32", "train --batch_size 32", "train --batch-size=32", "train --batchsize 32",
        "train --bs 32", "compare --minibatch 10", "bench step --batch-size 10"],
    "'--seed'": ["train -s 0", "train --random-seed 1", "train --random_state 1"],
    "'--data'": ["train -d mnist", "train --dataset cifar"],
    "'--method'": ["train -m cg3", "train --methods cg3"],
    "'--layers'": ["train --hidden 128", "train --hidden-size 128", "train --hidden_layer_sizes 128,128",
        "train --units 128", "train --width 128", "train --dims 64,10", "train --depth 3", "train --num-layers 3"],
    "64,128,10": ["compare --layers [64,32,10]", "compare --layers (64,32,10)", "compare --layers 64-32-10",
        "compare --layers 64x32x10", "train --layers '64, 32, 10'"],
    "'sgd'": ["train --optimizer SGD"],
    "'adam'": ["train --optimizer Adam"],
    "'--optimizer'": ["train --optim adam", "train --solver adam", "compare --optimizers adam"],
    "adam:decoupled=True": ["train --optimizer adamw"],
    "'momentum'": ["train --optimizer heavyball"],
    "momentum": ["train --optimizer sgd:momentum=0.9"],
    "momentum:momentum=0.9": ["train --optimizer sgd --momentum 0.9"],
    "weight_decay": ["train --weight-decay 1e-4"],
    "--optimizer nesterov": ["train --nesterov"],
    "compare": ["train --device cuda", "train --plot", "train --gpu 0", "train --gpus 1"],
    "'--backend'": ["compare --device cuda", "compare --no-cuda", "compare --cuda", "bench step --device cuda"],
    "'cupy'": ["compare --backend cuda", "compare --backend gpu"],
    "float32": ["compare --dtype float64"],
    "'proxprop'": ["train --method prox-prop", "train --method ProxProp", "train --method PROXPROP",
        "train --method prox_prop", "verify mine.py:f --like ProxProp"],
    "'backprop'": ["train --method backpropagation", "train --method bp", "train --method sgd",
        "verify mine.py:f --like BackProp"],
    "'locoprop-s'": ["train --method locoprop"],
    "'locoprop-m'": ["train --method LocoProp-M"],
    "'semi-implicit'": ["train --method sibp", "train --method semi_implicit", "train --method semiimplicit"],
    "'kfac'": ["train --method k-fac"],
    "'gauss-newton'": ["train --method gn", "train --method newton"],
    "'cg3'": ["train --method cg"],
    "solver=cg2": ["train --method cg2"],
    "'predictive-coding'": ["train --method pc"],
    "'target-propagation'": ["train --method target-prop"],
    "optimizer": ["train --method adam"],
    "--step": ["train --method proxprop:lr=1"],
    "proxprop:tau_theta=1": ["train --method proxprop(tau_theta=1)", "train --method proxprop tau_theta=1",
        "train --method proxprop,tau_theta=1"],
    "'--methods'": ["compare --method cg3"],
    "family": ["compare --methods all", "compare --all"],
    "--methods": ["compare cg3 proxprop"],
    "--method": ["train cg3", "train proxprop", "train mine.py:f"],
    "--data": ["train mnist"],
    "'cifar10'": ["train --data cifar", "train --data CIFAR10", "train --data cifar-10", "train --data cifar100"],
    "'fashion_mnist'": ["train --data fashion-mnist", "train --data FashionMNIST", "train --data fmnist"],
    "'mnist'": ["train --data MNIST", "data fetch MNIST"],
    "'digits'": ["train --data load_digits"],
    "'moons'": ["train --data make_moons"],
    "moons:noise=0.2": ["train --data moons(noise=0.2)"],
    "'n'": ["train --data moons:n_samples=100"],
    "folder=": ["train --data-dir data"],
    "'--samples'": ["train --train-size 100", "train --n-samples 100", "train --n_samples=100", "train --subset 100"],
    "'--standardize'": ["train --standardise", "compare --normalize", "train --scale"],
    "'--net'": ["train --network convnet", "train --arch mlp"],
    "'convnet'": ["train --net cnn", "train --net CNN", "train --net ConvNet", "train --net lenet",
        "bench step --network cnn"],
    "'resnet'": ["train --net resnet18", "train --net ResNet"],
    "'rnn'": ["train --net lstm"],
    "'mlp'": ["train --net MLP", "train --net dense", "train --net fc"],
    "'relu'": ["train --activation ReLU"],
    "'--activation'": ["train --act tanh", "train --nonlinearity tanh"],
    "softplus": ["train --activation gelu"],
    "'leaky_relu'": ["train --activation leaky-relu", "train --activation leakyrelu"],
    "'sigmoid'": ["train --activation logistic"],
    "SoftmaxCrossEntropy": ["train --activation softmax"],
    "'hard_tanh'": ["train --activation hardtanh"],
    "'identity'": ["train --activation linear"],
    "'--repeats'": ["compare --seeds 3", "compare --n-seeds 3", "compare --runs 3", "compare --trials 3"],
    "--threads": ["compare --n-jobs 2", "compare --n_jobs 2", "compare --workers 2", "compare --num-workers 2",
        "compare -j 2"],
    "'--jobs'": ["reproduce proxprop-table1 --n-jobs 2", "reproduce proxprop-table1 --n_jobs=2",
        "teach grade x.ipynb --workers 2"],
    "'--threads'": ["compare --num-threads 2"],
    "'--output'": ["train --save model.npz", "train --save-model m.npz", "train -o m.npz", "train --out m.npz",
        "train --output-dir out", "reproduce proxprop-table1 --output-dir x"],
    "--checkpoint": ["train --load m.npz", "train --resume run.npz"],
    "'--checkpoint'": ["train --ckpt a.npz", "train --checkpoint-dir a"],
    "'--resume'": ["train --continue", "train --restart", "train --resume-from run.npz"],
    "--quiet": ["train --verbose", "train -v", "train --verbose=0", "train --progress"],
    "'--quiet'": ["train -q", "train --no-progress", "train --silent"],
    "minilift.fit": ["train --val-split 0.1", "train --validation 0.1", "train --validation-split 0.1"],
    "EarlyStop": ["train --early-stopping", "train --patience 3"],
    "loss": ["train --loss mse"],
    "Dropout": ["train --dropout 0.5"],
    "Cosine": ["train --scheduler cosine"],
    "StepDecay": ["train --lr-decay 0.1"],
    "mpiexec": ["train --ranks 4", "train --nproc 4", "train --np 4", "train --world-size 4"],
    "'--steps'": ["compare --step 0.1", "compare --lrs 0.1,1", "compare --step-sizes 0.1,1", "compare --grid 0.1,1"],
    "with commas": ["compare --steps 0.1 1 10"],
    "0.1,1,10": ["compare --steps [0.1,1]"],
    "'--level'": ["compare --target 0.01", "compare --threshold 0.01"],
    "--output": ["compare --plot a.png", "compare --figure a.png", "compare --save-fig a.png", "docs build",
        "docs out", "docs --html"],
    "must end in one of": ["compare --output a.csv"],
    "to_csv": ["compare --csv a.csv"],
    "--samples": ["compare --fast", "compare --quick"],
    "--help": ["compare --list", "compare --list-methods", "reproduce --list", "methods", "list-methods"],
    "'train'": ["fit"],
    "minilift.evaluate": ["evaluate", "eval"],
    "predict": ["predict m.npz"],
    "'minilift verify'": ["test", "check", "gradcheck mine.py:f"],
    "'minilift bench'": ["benchmark"],
    "are required: {step": ["bench"],
    "'step'": ["bench speed", "bench time"],
    "one by one": ["bench all"],
    "'race'": ["bench train"],
    "'memory'": ["bench mem"],
    "'--rounds'": ["bench step --repeats 3"],
    "--": ["bench step --n 3"],
    "'--network'": ["bench step --net wide"],
    "'--contender'": ["bench step --methods cg3", "bench step --method cg3", "bench step --contenders cg3"],
    "'ProxProp exact'": ["bench step --contender proxprop"],
    "'PyTorch'": ["bench step --contender torch"],
    "'scikit-learn'": ["bench step --contender sklearn"],
    "'BackProp'": ["bench step --contender backprop"],
    "'LocoProp-M'": ["bench step --contender locoprop-m"],
    "'K-FAC'": ["bench step --contender kfac"],
    "'Semi-Implicit BP'": ["bench step --contender semi-implicit"],
    "'Gauss–Newton'": ["bench step --contender gauss-newton"],
    "'dlADMM'": ["bench step --contender dladmm"],
    "'Fenchel lifted'": ["bench step --contender fenchel"],
    "'small'": ["bench step --network mlp"],
    "'recurrent'": ["bench step --network rnn"],
    "'residual'": ["bench step --network resnet"],
    "'wide'": ["bench step --network large"],
    "'backprop, Adam'": ["bench race --contender adam"],
    "'proxprop, Adam'": ["bench race --contender proxprop"],
    "--all": ["bench step --quick"],
    "'--all'": ["bench step --full"],
    "EXPERIMENT": ["reproduce"],
    "'proxprop-table1'": ["reproduce proxprop", "reproduce table1", "reproduce proxprop_table1"],
    "'locoprop-autoencoder'": ["reproduce locoprop"],
    "sibp-mnist": ["reproduce mnist"],
    "'paper'": ["reproduce proxprop-table1 --scale large", "reproduce proxprop-table1 --scale full"],
    "--scale": ["reproduce proxprop-table1 --quick"],
    ".npz": ["reproduce proxprop-table1 --data cifar10"],
    "'--seeds'": ["reproduce proxprop-table1 --seed 3"],
    "finished": ["reproduce proxprop-table1 --resume"],
    "'tutorials'": ["tutorial"],
    "'minilift tutorials'": ["notebooks", "course", "learn", "jupyter", "lab"],
    "DIR": ["tutorials --output out", "tutorials --dir out", "teach student"],
    "are required: {student": ["teach"],
    "'student'": ["teach students out", "teach handout"],
    "are required": ["teach grade"],
    "'grade'": ["teach mark x.ipynb"],
    "'kit'": ["teach exam", "teach slides"],
    "'book'": ["teach html"],
    "nowhere.ipynb": ["teach grade nowhere.ipynb"],
    "'--json'": ["teach grade x.ipynb --output g.json"],
    "'--minutes'": ["teach grade x.ipynb --timeout 5"],
    "'docs'": ["doc"],
    "'minilift docs'": ["reference", "api", "documentation"],
    "'minilift teach book'": ["book"],
    "'minilift teach kit'": ["exam", "kit"],
    "'minilift teach student'": ["student out"],
    "are required: {list,fetch}": ["data"],
    "'list'": ["data ls", "data show digits"],
    "'fetch'": ["data load mnist"],
    "fetch": ["data mnist"],
    "are required: NAME": ["data fetch"],
    "cifar10": ["data fetch mnist cifar10"],
    "'minilift data list'": ["datasets"],
    "'equations'": ["equation 5"],
    "'minilift equations'": ["eq 5"],
    "'minilift equations' equations": ["equations --list"],
    "--write": ["equations -w"],
    "WORD": ["equations --grep x"],
    "everything": ["verify --all"],
    "FILE.py:NAME": ["verify mine.py", "verify mine", "verify mine.f", "verify relu", "verify ReLU", "verify Adam",
        "verify --method mine.py:f"],
    "f": ["verify mine.py:g"],
    "'--like'": ["verify mine.py:f --reference backprop", "verify mine.py:f --against backprop"],
    "says what it does": ["verify --verbose"],
    "'--version'": ["-v"],
    "'minilift --version'": ["info"],
    "--completion": ["completion"],
    "pip install": ["install"],
    "plots.history": ["plot"],
    "'compare'": ["Compare"],
    "'minilift compare'": ["demo", "example", "examples", "start", "quickstart"],
    "'minilift reproduce'": ["experiment", "experiments"],
    "'minilift bench race'": ["race"],
    "'minilift bench profile'": ["profile"],
    "'minilift bench memory'": ["memory"],
    "'minilift bench step'": ["step"],
}
LONE = ("", "--", "comapre", "compare\n", "--versio", "-x", "٣")


def parsers():
    """Yield (command, parser) of every command and of its subcommands."""
    for name, command in cli.COMMANDS.items():
        parser = cli.Parser(prog=f"minilift {name}")
        getattr(cli.module_of(command), command.add_arguments)(parser)
        inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        yield name, parser
        for action in inner:
            yield from ((f"{name} {word}", choice) for word, choice in action.choices.items())


def wrong_values(command, option, action):
    """Return what is wrong for an option: as `VALUES` has it, or by its type."""
    by_type = {options.whole: COUNTS, options.decimal: NUMBERS}
    return VALUES.get(f"{command} {option}", by_type.get(action.type, WORDS))


def wrong_lines():
    """Yield (words, what the message must name one of) of every wrong command line."""
    yield from (([word], (word.strip(), "unknown")) for word in LONE)
    for command, parser in parsers():
        words, rest = command.split(), REST.get(command, [])
        yield [*words, *rest, "--nonsense"], ("--nonsense", "are required: {")
        for action in parser._actions:
            option = action.option_strings[-1] if action.option_strings else action.dest
            values = wrong_values(command, option, action)
            if isinstance(action, argparse._SubParsersAction):
                yield words, ("are required: {",)
                yield from (([*words, value], ("unknown name",)) for value in WORDS)
            elif not action.option_strings:  # of positional arguments those before it
                before = rest if option == "names" or rest[:1] == ["--no-browser"] else []
                yield from (([*words, *before, value], (option, str(action.metavar), value)) for value in values)
            elif action.nargs == 0:
                yield [*words, *rest, f"{option}=yes"], (option,)
                yield [*words, *rest, option[:-1]], (option[:-1], "are required: {")
            else:
                yield [*words, *rest, option], (option,)
                yield [*words, *rest, option[:-1], "1"], (option[:-1],)
                yield from (([*words, *rest, f"{option}={value}"], (option, value)) for value in values)


def shown(words):
    """Return a command line for the name of a test."""
    return " ".join(word if len(word) < 60 else f"{word[:20]}…" for word in words)


def param(words, names):
    """Return a wrong command line for pytest; one that is known to fail is not run, for it may take all memory."""
    line = shown(words)
    places = [place for place, lines in KNOWN_FAILURES.items() for known in lines if f"{line} ".startswith(known)]
    return pytest.param(words, names, id=line, marks=[pytest.mark.xfail(reason=place, run=False) for place in places])


LINES = [param(words, names) for words, names in wrong_lines()]
INDEX = functools.cache(equations.index)


class Begun(BaseException):
    """Raised where work begins that a wrong command line must not reach."""


def begin(*arguments, **options):
    raise Begun


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Return a folder with files of every wrong kind."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "folder").mkdir()
    for name in ("binary.bin", "binary.py"):
        (folder / name).write_bytes(bytes(range(256)) * 20)
    (folder / "notes.md").write_text("no marks, no notebook\n")
    (folder / "raises.py").write_text("import math\n\n1 / 0\n")
    (folder / "exits.py").write_text("import sys\nsys.exit('bye')\n")
    (folder / "typo.py").write_text("def f(block:\n")
    (folder / "good.py").write_text(GOOD)
    (folder / "good.ipynb").write_bytes(notebooks.paths("01")[1].read_bytes())
    return folder


GOOD = """
class Wants:
    def __init__(self, size):
        self.size = size

class Raises:
    def __init__(self):
        raise KeyError("no such thing")

class Hostile:
    @property
    def kind(self):
        raise OSError("not today")
    def __repr__(self):
        return repr(self)

text = "neither a method nor a layer"
"""


@pytest.fixture
def nothing_begins(desk, monkeypatch):
    """Stand at the desk, where nothing may begin and nothing may be left."""
    monkeypatch.chdir(desk)
    monkeypatch.setattr(equations, "index", INDEX)  # which reads a hundred files
    before = sorted(os.listdir())
    for owner, name in ((Network, "propagate"), (download, "download"), (notebooks, "execute"), (subprocess, "run"),
                        (subprocess, "call"), (subprocess, "Popen")):
        monkeypatch.setattr(owner, name, begin)
    yield
    after = sorted(os.listdir())
    for name in set(after) - set(before):
        (desk / name).rename(desk.parent / name)
    assert after == before


def outcome(words, capsys):
    """Return the exit code, standard output and error of a command line; a traceback is told as Python would."""
    try:
        code = cli.main(words)
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def test_there_are_enough_of_them():
    assert len(LINES) >= 225
    assert len({param.id for param in LINES}) > 0.95 * len(LINES)
    known = {f"{command} {option}" for command, parser in parsers() for action in parser._actions
             for option in (*action.option_strings, action.dest)}
    assert set(VALUES) <= known, "an option is gone"


@pytest.mark.parametrize(("words", "names"), LINES)
def test_a_wrong_command_line_is_refused(nothing_begins, capsys, words, names):
    code, out, err = outcome(words, capsys)
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    message = err.splitlines()[-1]
    assert message.startswith("minilift")
    named = {form.casefold() for name in names for form in (name, name.partition(":")[0]) if form}
    assert any(name in message.casefold() for name in named), message


@pytest.mark.parametrize(("line", "named"), [(line, named) for named, lines in GUESSES.items() for line in lines])
def test_a_guess_begins_or_is_told_the_right_spelling(nothing_begins, desk, capsys, line, named):
    (desk / "mine.py").write_text("def f(block):\n    return block.g\n")
    try:
        code, _, err = outcome(shlex.split(line), capsys)
    except Begun:
        code, err = 0, ""
    (desk / "mine.py").unlink()
    assert (code == 0 or "Begun" in err) == (not named), err
    assert named in err.splitlines()[-1] if named else True


def test_there_are_hundreds_of_guesses():
    assert sum(map(len, GUESSES.values())) >= 300


@pytest.mark.slow
@pytest.mark.parametrize("line", ["verify typo.py:f", "equations --write=binary.bin", "compare --seed=x"])
def test_the_process_says_the_same(desk, line):
    command = [sys.executable, "-m", "minilift.cli", *line.split()]
    done = subprocess.run(command, cwd=desk, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
