"""The system's Chromium, headless, through Playwright: what the tests do in a page, in a few words."""

import io
import json
import shutil
import time

from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def program():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A tab of `width` x `height` pixels of a browser of Playwright's, with a profile of its own."""

    def __init__(self, browser, width: int = 1360, height: int = 1500):
        self.size = {"width": width, "height": height}
        self.page = browser.new_page(viewport=self.size)

    def resize(self, width=None, height=None):
        """Makes the window so large, in pixels; as it was at first by default."""
        self.page.set_viewport_size({"width": width or self.size["width"], "height": height or self.size["height"]})

    def evaluate(self, script):
        """The value of a JavaScript expression; promises are awaited."""
        return self.page.evaluate(f"() => ({script})")

    def mark(self, selector, words, name):
        """Gives the first element that matches and whose text has these words (a regular expression) an id."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})].find(e => /{words}/.test(e.innerText))"
        self.evaluate(f"{found}.id = {json.dumps(name)}")
        return f"#{name}"

    def click(self, selector, **how):
        """Clicks the first element that matches; `how` as Playwright's, such as modifiers=["Control"]."""
        self.page.locator(selector).first.click(**how)

    def box(self, selector):
        """The middle and the size of the first element that matches, [x, y, width, height]."""
        box = self.page.locator(selector).first.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["width"], box["height"]

    def drag(self, selector, x, steps=8):
        """Drags the element horizontally to x, in a few moves."""
        start, y, _, _ = self.box(selector)
        self.page.mouse.move(start, y)
        self.page.mouse.down()
        self.page.mouse.move(x, y, steps=steps)
        self.page.mouse.up()

    def photograph(self, path, selector=None):
        """A PNG of the window, or of an element's upper 960 pixels, with 128 colours, which keeps it small."""
        place = self.page if selector is None else self.page.locator(selector).first
        taken = Image.open(io.BytesIO(place.screenshot(timeout=120_000))).convert("RGB")
        taken = taken if selector is None else taken.crop((0, 0, taken.width, min(taken.height, 960)))
        taken.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def wait(condition, seconds, what):
    """Waits until the condition holds and returns its value; fails after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"{what}: still not there after {seconds} s")
