"""The command line: help, exit codes, and one line instead of a traceback for a user's mistake."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minilift as ml
from minilift import cli
from minilift.lab import compare
from minilift.support import terminal


def run(capsys, *argv):
    """Return the exit code, standard output and standard error of a command line."""
    try:
        code = cli.main(argv)
    except SystemExit as stop:  # argparse
        code = stop.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# ---- help


def test_overview_names_every_command(capsys):
    for argv in ([], ["--help"], ["-h"]):
        code, out, _ = run(capsys, *argv)
        assert code == 0
        for name, command in cli.COMMANDS.items():
            assert f"  {name} " in out
            assert command.help in out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(capsys, name):
    code, out, err = run(capsys, name, "--help")
    assert (code, err) == (0, "")
    assert f"usage: minilift {name}" in out


def test_help_of_compare_has_examples_and_defaults(capsys):
    _, out, _ = run(capsys, "compare", "--help")
    assert out.count("\n  minilift compare") >= 4
    assert "0.01,0.03,0.1,0.3,1,3,10,30,100,300,1000" in out


@pytest.mark.parametrize("command", ["compare", "train"])
def test_help_says_what_names_with_settings_of_their_own_stand_for(capsys, command):
    names = run(capsys, command, "--help")[1].partition("names with settings of their own")[2].splitlines()[1:]
    lines = dict(line.split(maxsplit=1) for line in names)
    assert lines["kfac"] == "KFAC(damping=0.01, fisher='empirical')"
    assert lines["cg3"] == "ProxProp(solver='cg3')"
    assert "backprop" not in lines


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"minilift {ml.__version__}\n", "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(("words", "completed"), [
    ("minilift comp", {"compare"}), ("minilift compare --meth", {"--methods"}),
    ("minilift teach stu", {"student"}), ("minilift teach grade --se", {"--seed"}), ("minilift nonsense --", set()),
    ("minilift bench mem", {"memory"}), ("minilift data f", {"fetch"})])
def test_bash_completes_commands_and_options(capsys, words, completed):
    with pytest.raises(SystemExit) as stopped:
        cli.run_command(["--completion"])
    assert stopped.value.code == 0
    line = words.split()
    program = (f"{capsys.readouterr().out}\nCOMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; _minilift; "
               'echo "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == completed


@pytest.mark.parametrize(("words", "last"), [("student", "required: DIR"), ("grade", "required: NOTEBOOK|FOLDER")])
def test_of_teach_only_what_is_needed_is_required(capsys, words, last):
    assert run(capsys, "teach", words)[2].endswith(f"{last}\n")


@pytest.mark.parametrize("kind", ["book", "kit"])
def test_where_an_extra_is_missing_no_folder_is_made(kind, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = run(capsys, "teach", kind, str(tmp_path / "folder"))
    assert code == 2
    assert "not installed here; install with:" in err
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("line", ["teach student", "teach book", "teach kit", "tutorials --no-browser"])
def test_a_file_in_the_place_of_a_folder_is_told_as_the_help_calls_it(line, capsys, tmp_path):
    pytest.importorskip("latex2mathml")
    path = tmp_path / "file"
    path.touch()
    code, _, err = run(capsys, *line.split(), str(path))
    assert (code, err.splitlines()[-1]) == (2, f"minilift {line.split()[0]}: DIR: [Errno 17] File exists: '{path}'")


def test_help_is_quick():
    """Neither the subcommands' modules nor the libraries that draw and load are imported for the overview."""
    code = ("import sys; from minilift import cli; cli.main([]); "
            "print([name for name in ('scipy', 'matplotlib', 'pooch', 'tqdm', 'minilift.lab.compare', "
            "'minilift.lab.bench', 'minilift.plots') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_installed_command():
    done = subprocess.run([sys.executable, "-m", "minilift", "comapre"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith("minilift: error: unknown command 'comapre'; did you mean 'compare'?\n")


# ---- mistakes

MISTAKES = [
    ("comapre", "unknown command 'comapre'; did you mean 'compare'?"),
    ("--versio", "unknown argument --versio; did you mean '--version'?"),
    ("compare --epoch 3", "unknown argument --epoch; did you mean '--epochs'?"),
    ("compare --epochs three", "argument --epochs: expected a whole number such as 3, got 'three'"),
    ("compare --level ١", "argument --level: expected a positive number such as 0.1, got '١'"),
    ("verify --seed 1_0", "argument --seed: expected a whole number such as 3, got '1_0'"),
    ("compare --epochs 0", "--epochs must be at least 1, got 0"),
    ("compare --batch -1", "--batch must be at least 1, got -1"),
    ("compare --repeats 0", "--repeats must be at least 1, got 0"),
    ("compare --threads 0", "--threads must be at least 1, got 0"),
    ("compare --samples 0", "--samples must be at least 1, got 0"),
    ("compare --seed -1", "--seed must be at least 0, got -1"),
    ("compare --level 0", "argument --level: expected a positive number such as 0.1, got '0'"),
    ("compare --steps 0.1,x", "argument --steps: expected positive numbers such as 0.1,1,10, got '0.1,x'"),
    ("compare --steps 0.1,-1", "argument --steps: expected positive numbers such as 0.1,1,10, got '0.1,-1'"),
    ("compare --layers 64,a,10", "argument --layers: expected whole numbers such as 64,128,10, got '64,a,10'"),
    ("compare --layers 64,128,9", "--layers: digits has 64 inputs and 10 outputs, got 64 and 9"),
    ("compare --activation relo", "--activation: unknown name 'relo'; did you mean 'relu'?"),
    ("compare --methods backprp", "--methods: unknown name 'backprp'; did you mean 'backprop'?"),
    ("compare --methods proxprop:tau=1", "proxprop: argument: unknown name 'tau'; it is called 'tau_theta' here"),
    ("compare --methods proxprop:tau_theta", "expected NAME:argument=value,…, got 'tau_theta' after the colon"),
    ("compare --methods kfac:decay=0.9,decay=0.8", "decay is given twice"),
    ("compare --methods backprop cg3 backprop", "--methods: 'backprop' is given twice"),
    ("compare --methods proxprop:tau_theta=-1", "ProxProp: tau_theta must be positive and finite, got -1"),
    ("compare --methods proxprop:solver=cgx", "ProxProp: solver: unknown name 'cgx'"),
    ("compare --methods locoprop-s:gamma=3",
     "--methods: locoprop-s: gamma is the step size, which --step or --steps gives"),
    ("compare --methods nowhere.py:f", "there is no file 'nowhere.py'"),
    ("compare --optimizer adm", "--optimizer: unknown name 'adm'; did you mean 'adam'?"),
    ("compare --lr 0.1", "unknown argument --lr; it is called '--steps' here"),
    ("train --lr 0.1", "unknown argument --lr; it is called '--step' here"),
    ("train --model mlp", "it is called '--net' here"), ("compare --gpu", "it is called '--backend' here"),
    ("compare --methods adam", "it is an optimizer"), ("compare --layers 64 32", "written with commas"),
    ("compare --methods backprop,cg3", "several names are separated by blanks"),
    ("run", "unknown command 'run'; it is called 'train' here"), ("version", "'minilift --version'"),
    ("grade x.ipynb", "'minilift teach grade'"), ("data download mnist", "it is called 'fetch' here"),
    ("compare --optimizer nesterov:lr=1", "--optimizer: nesterov: lr is the step size, which --step or --steps gives"),
    ("compare --optimizer nesterov:momentum=2", "Nesterov: momentum must be in [0, 1) and finite, got 2"),
    ("compare --backend cuppy", "--backend: unknown name 'cuppy'; did you mean 'cupy'?"),
    ("compare --data digts", "data set: unknown name 'digts'; did you mean 'digits'?"),
    ("compare --data moons:nose=1", "option of moons: unknown name 'nose'; did you mean 'noise'?"),
    ("compare --data digits:n=3", "option of digits: unknown name 'n' (known: none)"),
    ("compare --output x.pgn", "'x.pgn': the name of a figure must end in one of"),
    ("compare --output nowhere/x.png", "--output: there is no folder nowhere"),
    ("data", "the following arguments are required: {list,fetch}"),
    ("data lst", "unknown name 'lst'; did you mean 'list'? (known: list, fetch)"),
    ("data fetch digit", "data set: unknown name 'digit'; did you mean 'digits'?"),
    ("data fetch moons:n=5", "moons: n must be at least 10, got 5"),
    ("data list digits", "unknown argument digits; nothing is expected here"),
    ("data list --sets", "unknown argument --sets; nothing is expected here"),
    ("data fetch mnist --folder here", "unknown argument --folder; it is the data set's, as in mnist:folder=here"),
    ("equations --write nowhere.md", "--write: [Errno 2] No such file or directory: 'nowhere.md'"),
    ("bench stepp", "unknown name 'stepp'; did you mean 'step'?"),
    ("teach stdent", "unknown name 'stdent'; did you mean 'student'?"),
    ("verify nowhere.py:f", "there is no file 'nowhere.py'"),
    ("verify mine.py:f --net rnnn", "--net: network: unknown name 'rnnn'; did you mean 'rnn'?"),
    ("verify cg3", "expected FILE.py:NAME, got 'cg3'; our own methods are checked without a name: minilift verify"),
    ("verify proxprop:tau_theta=2", "there is no file 'proxprop'; our own methods are checked without a name"),
]


@pytest.mark.parametrize(("line", "message"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, line, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "fit", lambda *a, **k: pytest.fail("training began"))
    code, _, err = run(capsys, *line.split())
    assert code == 2
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_fault_of_our_own_says_so_and_where(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(compare.Task, "run", lambda *arguments, **options: {}["nothing"])
    line = ["compare", "--methods", "backprop", "--quiet", "--output", str(tmp_path / "x.png")]
    code, _, err = run(capsys, *line)
    assert code == 70
    assert err.startswith("minilift compare: a fault of minilift's own, at minilift/lab/compare.py:")
    assert err.endswith(": KeyError: 'nothing' (MINILIFT_TRACEBACK=1 shows the traceback)\n")
    monkeypatch.setenv("MINILIFT_TRACEBACK", "1")
    code, _, err = run(capsys, *line)
    assert code == 70
    assert err.startswith("Traceback (most recent call last):")


USERS = """
import minilift as ml

def method(block):
    return block.g @ block.theta

class Leaves(ml.Method):
    def propose(self, block):
        raise SystemExit(3)

class Wordless(Exception):
    def __str__(self):
        raise ValueError

def wordless(block):
    raise Wordless

def endless(block):
    return endless(block)

def settings(block):
    return ml.ProxProp(-1)
"""


@pytest.mark.parametrize(("name", "says"), [
    ("method", "line 5: ValueError: matmul: "), ("Leaves", "line 9: SystemExit: 3"),
    ("wordless", "line 16: Wordless: its message cannot be shown"), ("endless", "line 19: RecursionError: "),
    ("settings", "line 22: ValueError: ProxProp: tau_theta must be positive")])
def test_an_error_in_a_users_file_names_the_file_and_its_line(capsys, tmp_path, name, says):
    (tmp_path / "mine.py").write_text(USERS)
    code, _, err = run(capsys, "compare", "--methods", f"{tmp_path / 'mine.py'}:{name}", "--quiet",
                       "--output", str(tmp_path / "x.png"))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert err.startswith(f"minilift compare: {tmp_path / 'mine.py'}, {says}")


def test_a_wrong_step_of_a_users_method_is_a_mistake(capsys, tmp_path):
    (tmp_path / "mine.py").write_text("def method(block):\n    return block.theta[:-1]\n")
    code, _, err = run(capsys, "compare", "--methods", f"{tmp_path / 'mine.py'}:method", "--quiet",
                       "--output", str(tmp_path / "x.png"))
    assert code == 2
    assert "the step proposed for map 3 must have shape (129, 10), got (128, 10)" in err


@pytest.mark.parametrize(("raise_it", "mistake"), [
    (lambda: ml.ProxProp(tau_theta=-1), True),  # raised by a check of ours
    (lambda: Path("/nowhere/at/all").read_text(), True),
    (lambda: ml.Linear(2, 3).forward(np.ones((3, 3)), np.ones((1, 9))), False),  # an operation that failed in our code
    (lambda: int("x"), False)])
def test_what_is_a_mistake(raise_it, mistake):
    with pytest.raises((ValueError, OSError)) as caught:
        raise_it()
    assert terminal.is_mistake(caught.value) == mistake


def test_ctrl_c(capsys, monkeypatch, tmp_path):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt
    monkeypatch.setattr(compare, "fit", interrupt)
    code, _, err = run(capsys, "compare", "--quiet", "--output", str(tmp_path / "x.png"))
    assert code == 130
    assert err == "minilift compare: interrupted\n"


# ---- standard streams

def process(line, shell="", **environment):
    """Return what a command line does in a process of its own, its streams as the shell is told."""
    command = f"{sys.executable} -m minilift.cli {line} {shell}"
    return subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, encoding="utf-8",
                          errors="replace", env={**os.environ, "PYTHONUNBUFFERED": "", **environment})


SPEAKING = ["compare --help", "equations", *[pytest.param(line, marks=pytest.mark.slow) for line in (
    "--help", "data list", "verify --list", "teach student {folder}/class", "tutorials {folder}/mine --no-browser",
    "bench step --network small --contender BackProp --rounds 1 --output {folder}/bench")]]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to write to")
@pytest.mark.parametrize("line", SPEAKING)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_one_line(tmp_path, line, unbuffered):
    done = process(line.format(folder=tmp_path), "> /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    *going_on, last = done.stderr.splitlines()
    assert last.startswith("minilift")
    assert last.endswith(": standard output: No space left on device")
    assert all(note.startswith(("bench ", "small: ")) for note in going_on)


@pytest.mark.parametrize("line", SPEAKING)
def test_a_reader_that_leaves_is_no_error(tmp_path, line):
    done = process(line.format(folder=tmp_path), "| true", PYTHONUNBUFFERED="1")
    assert done.returncode in (0, 141)  # 0 if all was written before the reader had left
    assert all(note.startswith(("bench ", "small: ")) for note in done.stderr.splitlines())  # what goes on, no error


def test_a_reader_that_has_left_is_told_by_the_exit_code():
    process = subprocess.Popen([sys.executable, "-m", "minilift.cli", "equations"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141
    process.stderr.close()


@pytest.mark.parametrize(("shell", "code", "says"), [
    (">&-", 74, "minilift equations: standard output is closed\n"), (">&- 2>&-", 74, ""),
    ("2>&-", 0, ""), ("<&-", 0, ""), ("2>/dev/full", 0, "")])
def test_closed_streams(shell, code, says):
    done = process("equations", shell)
    assert (done.returncode, done.stderr) == (code, says)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("line", [*SPEAKING, "verify --seed ١", pytest.param(
    "compare --quiet --epochs 1 --repeats 1 --steps 1,10 --output {folder}/x.png", marks=pytest.mark.slow)])
def test_a_terminal_that_knows_few_characters(tmp_path, line, encoding):
    done = process(line.format(folder=tmp_path), PYTHONIOENCODING=encoding, PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == (2 if "١" in line else 0), done.stderr
    assert "Traceback" not in done.stderr
    if encoding == "ascii":
        assert done.stdout.isascii()


def test_signs_have_a_plain_form():
    text = "σ′(z_l) ⊙ g ─ ‖ã‖² ≤ 10⁻¹ × ½ … – ᵀ é ☃ \udcff"
    assert text.encode("ascii", "replace") != text.encode("ascii", terminal_errors())
    assert text.encode("ascii", terminal_errors()).decode() == \
        "sigma'(z_l) (.) g - |a|^2 <= 10^-1 x 1/2 ... - ^T e ? ?"


def terminal_errors():
    terminal.open_streams()
    return "minilift.plain"


def test_claims_and_equations_can_be_read_in_plain_characters(capsys):
    for line in (["verify", "--list"], ["equations"]):
        _, out, _ = run(capsys, *line)
        assert "?" not in out.encode("ascii", terminal_errors()).decode()


# ---- minilift data


def test_data_list(capsys):
    code, out, err = run(capsys, "data", "list")
    assert (code, err) == (0, "")
    for name in ml.datasets.available():
        assert f"\n{name}\n" in f"\n{out}"
    assert "CC BY 4.0" in out


def test_data_fetch_of_what_is_embedded(capsys):
    code, out, _ = run(capsys, "data", "fetch", "digits")
    assert code == 0
    assert "1437 + 360 samples of 8×8×1" in out


def test_data_fetch_offline(capsys, monkeypatch, tmp_path):
    """The message says which file, from where, and where to put it."""
    import socket

    def refuse(*arguments, **options):
        raise OSError("no network in this test")
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("MINILIFT_DATA", str(tmp_path))
    code, _, err = run(capsys, "data", "fetch", "mnist")
    assert code == 2
    last = err.splitlines()[-1]
    for part in ("train-images-idx3-ubyte.gz", "https://", str(tmp_path / "mnist")):
        assert part in last


def test_the_table_of_verify_does_not_wait_for_edits(monkeypatch, tmp_path, capsys):
    """Nobody should have to wait to learn that something fails."""
    (tmp_path / "own.py").write_text("""import minilift as ml

class Cubed(ml.Activation):
    def forward(self, z):
        return z**3

    def derivative(self, z):
        return z**2
""")
    before = []

    def look(*_):
        before.append(capsys.readouterr().out)
        return []

    monkeypatch.setattr("minilift.checks.mends_of", look)
    assert cli.main(["verify", f"{tmp_path / 'own.py'}:Cubed"]) == 1
    assert "the derivative" in before[0]
    assert capsys.readouterr().out.startswith("\nNone of the small edits")
