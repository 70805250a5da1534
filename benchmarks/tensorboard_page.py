"""Takes the picture of TensorBoard's page in README.md: the curve of a killed run on that of an uninterrupted one.

    python benchmarks/tensorboard_page.py CHROMIUM [PICTURE]

Needs a Chromium or Chrome, and no display. `npm install @sparticuz/chromium` brings one that needs nothing else:
`await (await import("@sparticuz/chromium")).default.executablePath()` in node says where it is.

Trains on digits twice, kills one of the two in mid-epoch and starts it again, and asks a real TensorBoard for its
pages. Exit status 1 if a page does not list what it should.
"""

import base64
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

KILLED_AT, EPOCHS = 250, 20
HEIGHT = 540  # of the picture
PATIENCE = 120  # seconds until a page has to be there
HEADLESS = (
    "--headless",
    "--no-sandbox",
    "--no-zygote",
    "--single-process",
    "--in-process-gpu",
    "--hide-scrollbars",
) + (
    *("--use-gl=angle", "--use-angle=swiftshader", "--disable-3d-apis", "--remote-debugging-pipe"),
    "about:blank",
)
TEXT = """(function text(node) {
    const own = node.nodeType == 3 ? node.data + " " : "";
    const inner = [...node.childNodes, ...(node.shadowRoot ? node.shadowRoot.childNodes : [])];
    return own + inner.map(text).join("");
})(document.body)"""
TIDY = """(function () {  // no settings beside the curves, and no table below them
    const named = (kind, text) => [...document.querySelectorAll(kind)].find((each) => each.innerText.includes(text));
    named("mat-checkbox", "step selection")?.querySelector("input").click();
    named("button", "Settings")?.click();
})()"""
SCALARS = "?darkMode=false&smoothing=0&tagFilter=^(loss|accuracy)%24#timeseries"
LISTED = {  # what has to be found on a page of TensorBoard
    "?darkMode=false#timeseries": ("killed/train", "uninterrupted/val", "loss"),
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


class Browser:
    """A Chromium without a window, that is told what to do through two pipes, its descriptors 3 and 4.

    Args:
        chromium: The program.
        profile: An empty directory.
    """

    def __init__(self, chromium: str, profile: str) -> None:
        (heard, self._say), (self._hear, said) = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in (heard, said)]
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}',
                "bash",
                chromium,
                *HEADLESS,
                f"--user-data-dir={profile}",
            ],
            pass_fds=theirs,
            stderr=subprocess.DEVNULL,
        )
        self._count, self._left, self._session = 0, b"", ""
        page = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._count += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._count, "method": method, "params": parameters, **session}
        os.write(self._say, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._left:
                self._left += os.read(self._hear, 2**20)
            said, _, self._left = self._left.partition(b"\0")
            if (answer := json.loads(said)).get("id") == self._count:
                return answer["result"]

    def missing(self, address: str, names: Sequence[str], height: int) -> list[str]:
        """Goes to a page, and returns what of some names is not on it when it should be there."""
        self._call("Emulation.setDeviceMetricsOverride", width=1000, height=height, deviceScaleFactor=1, mobile=False)
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=address)
        lacking, until = list(names), time.monotonic() + PATIENCE
        while lacking and time.monotonic() < until:
            time.sleep(1)
            text = self._call("Runtime.evaluate", expression=TEXT)["result"].get("value", "")
            lacking = [name for name in names if name not in text]
        return lacking

    def picture(self) -> bytes:
        """Returns a picture of the page, as PNG."""
        self._call("Runtime.evaluate", expression=TIDY)
        time.sleep(10)  # until what moves has come to rest
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def main(chromium: str, picture: str = "docs/tensorboard.png") -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        life(root / "uninterrupted")
        life(root / "killed", KILLED_AT)
        life(root / "killed")
        server, address = serve(root)
        browser = Browser(chromium, directory)
        try:
            missing = [
                f"{SCALARS}: {name}" for name in browser.missing(address + SCALARS, ("loss", "accuracy"), HEIGHT)
            ]
            Path(picture).write_bytes(browser.picture())
            for page, names in LISTED.items():
                missing += [f"{page}: {name}" for name in browser.missing(address + page, names, 3000)]
        finally:
            browser.close()
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
