"""Headless Chromium driven over its DevTools protocol: enough of it to press, drag, read and photograph a page."""

import base64
import io
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def program():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A window of `width` x `height` pixels, with a profile of its own in `directory`."""

    def __init__(self, directory: Path, width: int = 1360, height: int = 1500):
        import websocket

        self.process = subprocess.Popen(
            [
                *(
                    program(),
                    "--headless=new",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--no-first-run",
                ),
                *("--remote-debugging-port=0", f"--user-data-dir={directory}", f"--window-size={width},{height}"),
                *("--hide-scrollbars", "--disable-background-networking", "about:blank"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port_file = directory / "DevToolsActivePort"
        wait(lambda: port_file.exists() and port_file.read_text().strip(), 60, "Chromium's port")
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            target = next(t for t in json.load(answer) if t["type"] == "page")
        self.socket = websocket.create_connection(target["webSocketDebuggerUrl"], timeout=60, suppress_origin=True)
        self.numbers = itertools.count(1)
        self.size = width, height
        self.resize()

    def call(self, method, **parameters):
        """One command of the protocol and its result."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def resize(self, width=None, height=None):
        """Makes the window so large, in pixels; as it was at first by default."""
        size = {"width": width or self.size[0], "height": height or self.size[1]}
        self.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)

    def goto(self, url):
        self.call("Page.navigate", url=url)

    def evaluate(self, script):
        """The value of a JavaScript expression; promises are awaited."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def box(self, selector):
        """The middle and the size of the first element that matches, [x, y, width, height], scrolled into view."""
        return self.evaluate(
            f"(() => {{const e = document.querySelector({json.dumps(selector)}); "
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2, r.width, r.height]})()"
        )

    def mouse(self, kind, x, y, held=False):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=int(held), clickCount=1)

    def mark(self, selector, words, name):
        """Gives the first element that matches and whose text has these words (a regular expression) an id."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})].find(e => /{words}/.test(e.innerText))"
        self.evaluate(f"{found}.id = {json.dumps(name)}, null")
        return f"#{name}"

    def click(self, selector):
        self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'nearest'}}), null")
        x, y, _, _ = self.box(selector)
        self.mouse("mousePressed", x, y, True)
        self.mouse("mouseReleased", x, y)

    def drag(self, selector, x, steps=8):
        """Drags the element horizontally to x, in a few moves."""
        start, y, _, _ = self.box(selector)
        self.mouse("mousePressed", start, y, True)
        for k in range(1, steps + 1):
            self.mouse("mouseMoved", start + (x - start) * k / steps, y, True)
            time.sleep(0.03)
        self.mouse("mouseReleased", x, y)

    def photograph(self, path, selector=None):
        """A PNG of the window, or of an element in it, with 256 colours, which keeps it small."""
        clip = {}
        if selector is not None:
            x, y, width, height = self.box(selector)
            clip = {"clip": {"x": x - width / 2, "y": y - height / 2, "width": width, "height": height, "scale": 1}}
        taken = base64.b64decode(self.call("Page.captureScreenshot", format="png", **clip)["data"])
        Image.open(io.BytesIO(taken)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(30)


def wait(condition, seconds, what):
    """Waits until the condition holds and returns its value; fails after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"{what}: still not there after {seconds} s")
