"""A headless Chromium, driven through its debugging pipe."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PATIENCE_S = 60.0  # on a busy machine


def find_browser() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path is not None), None)


class Browser:
    """One page of a browser that ends with the block it is made in."""

    def __init__(self, program: str, profile: Path, width: int = 1200, height: int = 800) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4; out of the way with ours before these are taken.
        theirs = [fcntl.fcntl(number, fcntl.F_DUPFD, 10) for number in (theirs_in, theirs_out)]
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        self._process = subprocess.Popen(
            [program, *options, f"--user-data-dir={profile}", "--remote-debugging-pipe"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4),
            preexec_fn=lambda: [os.dup2(source, target) for source, target in zip(theirs, (3, 4), strict=True)],
        )
        for number in (theirs_in, theirs_out, *theirs):
            os.close(number)
        self._received, self._number = b"", 0
        self._session: str | None = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", **size)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._next())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> bytes:
        while b"\0" not in self._received:
            part = os.read(self._in, 1 << 16)
            assert part, "the browser ended"
            self._received += part
        message, self._received = self._received.split(b"\0", 1)
        return message

    def open(self, address: str) -> None:
        self._ask("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"{expression}; the page says {self.evaluate('document.body.innerText')!r}"
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        assert self.evaluate(f"!document.querySelector({selector!r}).disabled"), selector
        self.evaluate(f"document.querySelector({selector!r}).scrollIntoView()")
        self.click_at(*self.place(selector, 0.5, 0.5))

    def place(self, selector: str, right: float, down: float) -> tuple[float, float]:
        """Return where in the window a place of an element is, in shares of its size."""
        box = self.evaluate(
            f"(() => {{ const b = document.querySelector({selector!r}).getBoundingClientRect();"
            "return [b.x, b.y, b.width, b.height]; })()"
        )
        return box[0] + right * box[2], box[1] + down * box[3]

    def click_at(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def drag(self, start: tuple[float, float], end: tuple[float, float], shift: bool = False) -> None:
        held = {"button": "left", "buttons": 1, "modifiers": 8 if shift else 0}
        middle = tuple((a + b) / 2.0 for a, b in zip(start, end, strict=True))
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", middle), ("mouseMoved", end)):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, clickCount=1, **held)
        self._ask("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], button="left", clickCount=1)

    def key(self, key: str) -> None:
        shift = 8 if key.isupper() else 0
        self._ask("Input.dispatchKeyEvent", type="keyDown", key=key, text=key, modifiers=shift)
        self._ask("Input.dispatchKeyEvent", type="keyUp", key=key, modifiers=shift)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"]))
