"""Train in child processes that are killed at random moments, and hold what is left against an uninterrupted run.

``python kills.py FOLDER KILLS SEED EVERY`` prints a JSON object of what was found; `test_kills.py` judges it.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

import minilift as ml
from minilift.support.files import read_npz

EPOCHS = 100_000  # more than there is time for: a child ends by being killed


def settings():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 120)
    X = (rng.standard_normal((120, 6)) + 1.5 * np.eye(3, 6)[y]).astype(np.float32)
    net = ml.Network([ml.Linear(6, 16), ml.BatchNorm(16), ml.ReLU(), ml.Dropout(0.1), ml.Linear(16, 3)], seed=0)
    return {"net": net, "data": (X, y), "method": ml.LocoProp("M", 1.0, 2, 1e-3, "rmsprop"),
            "optimizer": ml.Nesterov(0.1), "batch_size": 40, "validation": 0.2, "progress": False}


def train(path, every, epochs, told, resume=True):
    """Train and write the number of each epoch that the callbacks hear of to the file descriptor `told`."""
    def tell(row, net, history):
        os.write(told, row["epoch"].to_bytes(4, "big"))

    return ml.fit(**settings(), epochs=epochs, checkpoint=path, checkpoint_every=every, resume=resume, callbacks=tell)


def killed_child(path, every, epochs, delay):
    """Let a child train, kill it some time after so many epochs, and return the last epoch that it told of."""
    end, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            train(path, every, EPOCHS, told)
        finally:
            os._exit(1)
    os.close(told)
    with open(end, "rb") as file:
        heard = file.read(4 * epochs)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        heard += file.read()
    assert status == signal.SIGKILL, "the child ended by itself"
    return int.from_bytes(heard[-4:], "big")


def saved_epoch(path):
    """Return the last epoch of a checkpoint, and its parameters; no checkpoint has none."""
    if not path.exists():
        return 0, None
    arrays = read_npz(path)
    return json.loads(str(arrays["about"]))["history"]["columns"]["epoch"][-1], arrays


def parts_in(folder):
    return [name for name in os.listdir(folder) if name.endswith(".part")]


def same_run(path, history, other_path, other_history):
    """Whether two finished runs agree bit for bit, in their checkpoints and in all but the time in their histories."""
    (_, one), (_, other) = saved_epoch(path), saved_epoch(other_path)
    for arrays in (one, other):
        del arrays["seal"]  # that of the seconds, too
    about, other_about = (json.loads(str(arrays.pop("about"))) for arrays in (one, other))
    return (list(one) == list(other) and all(one[name].tobytes() == other[name].tobytes() for name in one)
            and (about["rng"], about["steps"]) == (other_about["rng"], other_about["steps"])
            and all(repr(history[name]) == repr(other_history[name]) for name in history.columns if name != "seconds"))


def main(folder, kills, seed, every):
    path, whole_path, rng = Path(folder) / "run.npz", Path(folder) / "whole.npz", np.random.default_rng(seed)
    found = {"lost": [], "parts": []}
    for _ in range(kills):
        finished = killed_child(path, every, int(rng.integers(1, 2 * every + 2)), rng.uniform(0, 0.015))
        saved, _ = saved_epoch(path)
        found["lost"].append(finished - saved)
        found["parts"].append(len(parts_in(folder)))
    epochs, null = saved + 2 * every, os.open(os.devnull, os.O_WRONLY)
    history = train(path, every, epochs, null)
    found["left"] = parts_in(folder)
    started = time.perf_counter()
    whole = train(whole_path, every, epochs, null, resume=None)
    found |= {"epochs": epochs, "milliseconds of training": 1000 * whole["seconds"][-1] / epochs,
              "milliseconds in all": 1000 * (time.perf_counter() - started) / epochs,
              "same": same_run(path, history, whole_path, whole)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
