"""Takes the picture of TensorBoard's page in docs/events.md: the curve of a killed run on that of an uninterrupted one.

    python benchmarks/tensorboard_page.py CHROMIUM [PICTURE]

Needs a Chromium or Chrome that runs without a display, such as /usr/bin/chromium; `npm install @sparticuz/chromium`
brings one that needs nothing else: `await (await import("@sparticuz/chromium")).default.executablePath()` in node says
where. Trains on digits twice, kills one of the two in mid-epoch and starts it again, and asks a real TensorBoard for
its pages. Exit status 1 if a page does not list what it should.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

KILLED_AT, EPOCHS = 250, 20
WAITS = 30_000  # milliseconds of the page's own time, which go by as soon as nothing is left to be loaded
HEADLESS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--virtual-time-budget={WAITS}")
SCALARS = "?darkMode=false&smoothing=0&tagFilter=^(loss|accuracy)%24#timeseries"
LISTED = {  # what has to be found on a page of TensorBoard
    "?darkMode=false#timeseries": ("killed/train", "uninterrupted/val", "loss", "first scans", "model/"),
    "?darkMode=false#images": ("first scans",),
    "?darkMode=false#histograms": ("model/",),
    "?darkMode=false#hparams": ("units", "dropout", "val_accuracy"),
}


def train(directory: str, kill: int) -> None:
    """Trains to the end, or until the process kills itself after a step; from where an earlier one was."""
    import keras
    from sklearn.datasets import load_digits

    from hooks import Checkpoint, TensorBoard
    from loop import ArrayData, At, Evaluation, Event, Every, Loop, supervised

    keras.utils.set_random_seed(1)
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    settings = {"units": 32, "dropout": 0.3}
    layers = [keras.layers.Dense(32, activation="relu"), keras.layers.Dropout(0.3), keras.layers.Dense(10)]
    model, optimizer = keras.Sequential([keras.Input([64]), *layers]), keras.optimizers.Adam(2e-3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    train_step, eval_step = supervised(model, optimizer, loss, metrics=["accuracy"])
    loop = Loop(
        train_step,
        ArrayData((x[:1440], y[:1440]), batch_size=64, seed=1),
        state={"model": model, "optimizer": optimizer},
        evaluate=Evaluation(eval_step, ArrayData((x[1440:], y[1440:]), batch_size=51)),
        hooks=[
            TensorBoard(
                f"{directory}/tensorboard",
                Every(steps=10),
                images={"first scans": lambda moment: x[:8].reshape([8, 8, 8])[..., None]},
                histograms=True,
                draw=Every(epochs=5),
                hparams=settings,
            ),
            Checkpoint(f"{directory}/checkpoints", Every(steps=40)),
        ],
    )
    if kill:
        loop.on(Event.STEP_END, At(kill))(lambda moment: os.kill(os.getpid(), signal.SIGKILL))
    loop.run(epochs=EPOCHS)


def life(directory: Path, kill: int = 0) -> None:
    command = [sys.executable, __file__, "--train", str(directory), str(kill)]
    status = subprocess.run(command, check=False).returncode
    if status != (-signal.SIGKILL if kill else 0):
        sys.exit(f"A training ended with {status}.")


def serve(root: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Returns a TensorBoard of both runs, and its address, once it has read them."""
    for run in ("killed", "uninterrupted"):
        (root / "logs").mkdir(exist_ok=True)
        (root / "logs" / run).symlink_to(root / run / "tensorboard")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={root / 'logs'}", f"--port={port}"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/"
    for _ in range(240):
        time.sleep(0.5)
        try:
            with urllib.request.urlopen(f"{address}data/plugin/scalars/tags") as found:
                if found.read().count(b'"epoch_loss"') == 4:
                    return server, address
        except OSError:
            continue
    server.terminate()
    sys.exit("TensorBoard does not answer.")


def browse(chromium: str, address: str, *arguments: str) -> str:
    """Returns what a page has become when it is loaded, or nothing of one of which a picture is taken."""
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium, *HEADLESS, f"--user-data-dir={profile}", *arguments, address]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def main(chromium: str, picture: str = "docs/tensorboard.png") -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        life(root / "uninterrupted")
        life(root / "killed", KILLED_AT)
        life(root / "killed")
        server, address = serve(root)
        try:
            browse(chromium, address + SCALARS, f"--screenshot={Path(picture).absolute()}", "--window-size=1000,620")
            missing = []
            for page, names in LISTED.items():
                text = re.sub(
                    r"<[^>]*>", " ", browse(chromium, address + page, "--dump-dom", "--window-size=1600,3000")
                )
                missing += [f"{page}: {name}" for name in names if name not in text]
        finally:
            server.terminate()
            server.wait()
    print(f"{picture}: {Path(picture).stat().st_size:,} bytes")
    if missing:
        sys.exit("Not listed: " + ", ".join(missing))
    print("All pages list what they should.")


if __name__ == "__main__":
    if "--train" in sys.argv:
        train(sys.argv[2], int(sys.argv[3]))
    else:
        main(*sys.argv[1:])
