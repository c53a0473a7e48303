"""Names that other tools use for commands and options, so that an error of the command line can suggest ours."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from minilift.support.spellings import value_hint

COMMANDS = {
    **dict.fromkeys(("list", "datasets"), "'minilift data list'"), "version": "'minilift --version'",
    "info": "'minilift --version'", **dict.fromkeys(("download", "fetch"), "'minilift data fetch'"),
    **dict.fromkeys(("grade", "student", "build", "book", "kit"), "'minilift teach {}'"),
    "exam": "'minilift teach kit'",
    **dict.fromkeys(("step", "profile", "solve", "scale", "memory", "race", "ranks"), "'minilift bench {}'"),
    **dict.fromkeys(("predict", "eval", "evaluate", "plot"), "done in Python: minilift.load(path).predict(X), "
                    "minilift.evaluate(net, X, y), minilift.plots.history(history)"),
    **dict.fromkeys(("demo", "example", "examples", "start", "quickstart"), "'minilift compare'"),
    **dict.fromkeys(("experiment", "experiments"), "'minilift reproduce'"), "benchmark": "'minilift bench'",
    **dict.fromkeys(("course", "learn", "jupyter", "lab", "notebook", "notebooks"), "'minilift tutorials'"),
    **dict.fromkeys(("api", "reference", "documentation"), "'minilift docs'"), "eq": "'minilift equations'",
    **dict.fromkeys(("test", "check", "gradcheck"), "'minilift verify'"), "completion": "'minilift --completion'",
    **dict.fromkeys(("methods", "list-methods", "optimizers"), "in 'minilift compare --help', which names them all"),
    "install": "pip's: extras are installed as in pip install -e '.[tutorials]'",
}
# what an option may be called here: the first one that a command has applies; words in capitals need no option
OPTIONS = {
    **dict.fromkeys(("--lr", "--lrs", "--learning-rate", "--learning-rates", "--lr-grid", "--eta", "--step-size",
                     "--step-sizes", "--grid", "--steps", "--step"), ("--step", "--steps")),
    **dict.fromkeys(("--model", "--arch", "--architecture", "--network"), ("--net", "--network")),
    "--net": ("--network",), "--size": ("--scale",),
    **dict.fromkeys(("--save", "--save-model", "--out", "--output-dir", "--out-dir", "--dir", "--folder", "-o",
                     "--output"), ("--output", "--json", "--write", "DIR")),
    **dict.fromkeys(("--device", "--gpu", "--gpus", "--cuda", "--no-cuda"), ("--backend",)),
    **dict.fromkeys(("--hidden", "--hidden-size", "--hidden-layers", "--hidden-layer-sizes", "--widths", "--width",
                     "--units", "--dims", "--depth", "--num-layers", "--n-layers", "--sizes"), ("--layers",)),
    **dict.fromkeys(("--no-progress", "--silent", "-q"), ("--quiet",)),
    **dict.fromkeys(("--random-state", "--random-seed", "-s"), ("--seed", "--seeds")),
    **dict.fromkeys(("--seeds", "--n-seeds", "--runs", "--trials", "--repeats", "--n-repeats", "--rounds"),
                    ("--repeats", "--rounds", "--seeds", "--seed")),
    **dict.fromkeys(("--max-iter", "--iterations", "--num-epochs", "--n-epochs", "--max-epochs", "-e"), ("--epochs",)),
    **dict.fromkeys(("--batch-size", "--batchsize", "--bs", "--minibatch", "--mini-batch", "-b"), ("--batch",)),
    **dict.fromkeys(("--opt", "--optim", "--solver", "--algorithm"), ("--optimizer",)),
    **dict.fromkeys(("--workers", "--num-workers", "--n-jobs", "--jobs", "-j"), ("--jobs", "--threads")),
    **dict.fromkeys(("--dataset", "-d"), ("--data",)), **dict.fromkeys(("--act", "--nonlinearity"), ("--activation",)),
    **dict.fromkeys(("--method", "--methods", "-m"), ("--method", "--methods", "--contender", "FILE.py:NAME")),
    **dict.fromkeys(("--n-samples", "--num-samples", "--train-size", "--subset", "--limit"), ("--samples",)),
    **dict.fromkeys(("--standardise", "--normalize", "--normalise", "--scale", "--scaler"), ("--standardize",)),
    **dict.fromkeys(("--load", "--load-model", "--ckpt", "--checkpoint-dir", "--weights"), ("--checkpoint",)),
    **dict.fromkeys(("--continue", "--restart", "--resume-from"), ("--resume",)),
    **dict.fromkeys(("--target", "--threshold", "--tol"), ("--level",)), "--timeout": ("--minutes",),
    **dict.fromkeys(("--reference", "--against", "--expected"), ("--like",)), "-w": ("--write",),
    **dict.fromkeys(("--grep", "--search", "-k"), ("WORD",)), "--experiment": ("EXPERIMENT",), "--full": ("--all",),
    "-v": ("--version",),
}
PYTHON = "the command line has none, Python has: "
SHORT = ("compare and train are short with --samples 500 --epochs 5, bench unless --all is given, reproduce with "
         "--scale small")
DRAWN = "compare draws what it prints, into --output; in Python history.plot(\"a.png\")"
TABLES = "tables are printed; in Python history.to_csv(\"a.csv\"), history.to_json(\"a.json\")"
# options without a counterpart, and what to use instead
INSTEAD = {
    **dict.fromkeys(("--device", "--gpu", "--gpus", "--cuda", "--no-cuda", "--backend"),
                    "compare, bench and reproduce have --backend; in Python mlp(…, backend=\"cupy\")"),
    **dict.fromkeys(("--tau", "--tau-theta", "--gamma", "--damping", "--lam"),
                    "it is the method's, as in proxprop:tau_theta=0.5"),
    "--momentum": "it is the optimizer's, as in --optimizer momentum:momentum=0.9", "--nesterov": "as in --optimizer "
    "nesterov", **dict.fromkeys(("--weight-decay", "--wd", "--alpha", "--l2"),
                                "it is the optimizer's, as in --optimizer adam:weight_decay=0.0001"),
    **dict.fromkeys(("--validation", "--val", "--val-split", "--validation-split", "--validation-fraction"),
                    PYTHON + "minilift.fit(…, validation=0.1)"),
    **dict.fromkeys(("--early-stopping", "--early-stop", "--patience"),
                    PYTHON + "minilift.fit(…, early_stop=minilift.EarlyStop(patience=3))"),
    "--loss": "it follows from the targets, and --autoencoder; in Python mlp(…, loss=minilift.SquaredError())",
    "--dropout": PYTHON + "Dropout is a layer, Network([Linear(64, 32), ReLU(), Dropout(0.5), Linear(32, 10)])",
    **dict.fromkeys(("--scheduler", "--lr-scheduler", "--lr-schedule", "--schedule"),
                    PYTHON + "SGD(lr=minilift.Cosine(0.1, epochs=20))"),
    **dict.fromkeys(("--lr-decay", "--decay"), PYTHON + "SGD(lr=minilift.StepDecay(0.1, every=10))"),
    "--dtype": "the command line computes in float32; in Python mlp(…, dtype=\"float64\")",
    **dict.fromkeys(("--ranks", "--nproc", "--np", "--world-size", "--nodes"),
                    "processes are started as in mpiexec -n 4 minilift train"),
    **dict.fromkeys(("--verbose", "-v", "--progress", "--log"), "every command says what it does, compare and train "
                    "unless --quiet is given"),
    **dict.fromkeys(("--plot", "--figure", "--fig", "--save-fig"), DRAWN),
    **dict.fromkeys(("--csv", "--json", "--log-file"), TABLES), **dict.fromkeys(("--fast", "--quick"), SHORT),
    **dict.fromkeys(("--list", "--list-methods", "--list-data"), "'minilift compare --help' names methods, optimizers "
                    "and networks, 'minilift data list' data sets, 'minilift reproduce --help' "
                    "experiments, 'minilift equations' equations"),
    **dict.fromkeys(("--data-dir", "--root", "--folder"), "it is the data set's, as in mnist:folder=here"),
    "--all": "of compare it is --methods family; without a name verify checks everything",
    "--resume": "train has it, with --checkpoint; what reproduce has finished it does not do again",
}


def command_hint(name: str, known: Collection[str]) -> str:
    """Return the hint about a command that is not one of the known ones."""
    if name in COMMANDS:
        return f"; it is {COMMANDS[name].format(name)}"
    return value_hint(name, known) or f" (known: {', '.join(known)})"


def option_hint(option: str, known: Collection[str], alone: Collection[str] = ()) -> str:
    """Return the hint about an unknown option; `alone` are the words that are given without an option."""
    plain = option.replace("_", "-").lower()
    same = [other for other in (plain, *OPTIONS.get(plain, ())) if other in (*known, *alone)]
    if same:
        return f"; it is {'called ' if same[0] in known else ''}{same[0]!r} here" + ", without an option" * (
            same[0] in alone)
    if plain in INSTEAD:
        return f"; {INSTEAD[plain]}"
    words = {one.lstrip("-"): one for one in known}  # the dashes would make all options look similar
    near = difflib.get_close_matches(plain.lstrip("-"), words, n=1, cutoff=0.7)
    if near:
        return f"; did you mean {words[near[0]]!r}?"
    return f" (known: {', '.join([*known, *alone])})" if known or alone else "; nothing is expected here"


def stray_hint(word: str, known: Collection[str], names: dict[str, Collection[str]],
               alone: Collection[str] = ()) -> str:
    """Return the hint about a word that belongs to no option.

    Parameters
    ----------
    word : str
    known : collection of str
        The command's options.
    names : dict
        The names that some options accept, not necessarily options of the command.
    alone : collection of str
        The words that the command takes without an option.
    """
    if not known and not alone:
        return "; nothing is expected here"
    if word.isdecimal() or word.replace(".", "", 1).isdecimal():
        return "; a list is written with commas, as in 64,128,10"
    if "=" in word:
        return "; arguments of a method are written after a colon, as in proxprop:tau_theta=1"
    if word.endswith(".npz") and "--checkpoint" in known:
        return f"; is it '--checkpoint {word}'?"
    name = word.lower().partition(":")[0]
    options = [option for option, some in names.items() if option in known and (name in some or ".py:" in word)]
    if options:
        return f"; is it '{options[0]} {word}'?"
    return f" (known: {', '.join(known)})" if known else "; one name at a time"
