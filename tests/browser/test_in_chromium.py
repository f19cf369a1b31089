"""Notebooks in a real browser: every cell runs, the inspector's sliders and buttons do, and so do the live run's.

With MMLIB_SCREENSHOTS=docs/images the pictures of the documentation are made again (`make pictures`); the inspector's
are then of the runs in the directory MMLIB_SCREENSHOT_RUN, where there ought to be a trained one with its checkpoint.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from chromium import Page, program, wait
from lab import PANEL, ROOT, jupyter_lab, prepare, run_all, show

from mmlib.experiments.notebooks import execute
from mmlib.runs.owner import being_written
from mmlib.widgets import live

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(program() is None, reason="no Chromium on the path"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
]
PICTURES = os.environ.get("MMLIB_SCREENSHOTS", "")  # a directory that keeps them
RUN = os.environ.get("MMLIB_SCREENSHOT_RUN", "")  # runs to photograph in place of a smoke run
MINI = "explore_object_locations_small_mini"
QUICK = "nav_maze_static_01_mini"  # the preset's
LEVELS = [MINI, "nav_maze_static_01_mini"]
SETTINGS = ["agent_steps=400", "num_envs=2", "unroll=50", "learner_batches=1", "log_every=200"]
SETTINGS += ['level_settings={"episode_seconds": 5}']  # of which a sweep plays eleven
TABLE = "[...document.querySelectorAll('.mmi table')].map(e => e.innerText).join(' ')"
CLOCK = "[...document.querySelectorAll('.mmi')].map(e => e.innerText).find(t => /^step \\d/.test(t)) || ''"
INSPECTOR = ".widget-vbox:has(> .widget-hbox .widget-dropdown)"
BROWSER = ".widget-vbox:has(> .mm-table)"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
OUTPUTS = "[...document.querySelectorAll('.jp-OutputArea')].map(e => e.innerText).join(' ')"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab: the directory that it serves, with results in it, and what makes a path in it an address."""
    scratch = tmp_path_factory.mktemp("lab")
    for part in ("baselines", f"quick/figure3/{MINI}", f"quick/figure3/{QUICK}"):
        shutil.copytree(ROOT / "results" / part, scratch / "root" / "results" / part)
    with jupyter_lab(scratch / "root", scratch) as address:
        yield scratch / "root", address


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, tmp_path):
    page = Page(browser)
    yield page
    page.photograph(tmp_path / "last.png")
    page.page.close()


@pytest.fixture
def pictures(tmp_path):
    return Path(PICTURES or tmp_path)


def opened(lab, page, name, **parameters):
    """Runs a notebook with these parameters, all cells."""
    root, address = lab
    prepare(name, root / "notebooks", parameters)
    run_all(page, address(f"notebooks/{name}"))


def trained_run(directory):
    """A run of a few steps, as the command line makes it."""
    settings = [part for setting in SETTINGS for part in ("-p", setting)]
    command = [sys.executable, "-m", "mmlib", "train", "--preset", "smoke", "--method", "mm", *settings]
    subprocess.run([*command, "--directory", str(directory)], check=True, cwd=ROOT, capture_output=True)
    return directory


def numbers(page, title):
    """The numbers of one row of the inspector's table."""
    row = next(line for line in page.evaluate(TABLE).splitlines() if line.startswith(title))
    return [float(text) for text in re.findall(r"-?\d+\.\d+", row)]


def loaded_pictures(page):
    """The widths of the pictures in outputs, in pixels; 0 for one that is not there."""
    return page.evaluate("[...document.querySelectorAll('.jp-OutputArea img')].map(e => e.naturalWidth)")


def test_notebook_11(lab, page):
    opened(lab, page, "11_levels.ipynb", levels=LEVELS, seconds=1.0)
    films = "[...document.querySelectorAll('.jp-OutputArea video')].map(e => e.videoWidth)"
    wait(lambda: all(page.evaluate(films)), 30, "the films")
    assert len(page.evaluate(films)) == len(LEVELS) and min(loaded_pictures(page)) > 300


def test_notebook_01_of_the_runs_on_disk(lab, page, pictures):
    opened(lab, page, "01_action_curricula.ipynb", seeds=[1, 2, 3], train=False)
    assert len(loaded_pictures(page)) == 4 and min(loaded_pictures(page)) > 300
    assert "not shown:" not in page.evaluate(OUTPUTS)
    page.evaluate("[...document.querySelectorAll('.jp-OutputArea img')][1].closest('.jp-Cell').id = 'panel'")
    assert [
        beyond(page, "#panel .jp-OutputArea-output > *") for _ in portraits(page, pictures, "01", "#panel")
    ] == 4 * [[]]


def test_notebook_00(lab, page, pictures):
    opened(lab, page, "00_mix_and_match.ipynb", preset="smoke", settings={"agent_steps": 2_000, "log_every": 400})
    assert min(loaded_pictures(page)) > 300
    page.evaluate("document.querySelector('.jp-OutputArea img').closest('.jp-Cell').id = 'swept'")
    assert [
        beyond(page, "#swept .jp-OutputArea-output > *") for _ in portraits(page, pictures, "00", "#swept")
    ] == 4 * [[]]


def test_notebook_06_inspector(lab, page, pictures, tmp_path):
    place = RUN or str(trained_run(tmp_path / "run"))
    given = {"run": place, "results": str(tmp_path), "seconds": 12.0 if RUN else 3.0, "episodes": 8 if RUN else 1}
    opened(lab, page, "06_inspect_mixture.ipynb", **given)
    wait(lambda: page.evaluate(CLOCK), 240, "the recorded episode")
    inspector = INSPECTOR
    page.evaluate(f"document.querySelector('{inspector}').scrollIntoView({{block: 'start'}})")
    found = "[...document.querySelectorAll('.widget-hslider')].find(e => /α/.test(e.innerText)).querySelector"
    page.evaluate(f"{found}('.noUi-handle').id = 'alpha', {found}('.noUi-base').id = 'track', null")
    first = "document.querySelector('.widget-hslider')"
    page.evaluate(f"{first}.querySelector('.noUi-handle').id = 'step', null")
    page.drag("#step", page.box("#step")[0] + 150)
    wait(lambda: not page.evaluate(CLOCK).startswith("step 0 "), 30, "another step")
    cursor = "[...document.querySelectorAll('.mmi-strip polyline')].pop().getBoundingClientRect().x"
    wait(lambda: abs(page.evaluate(cursor) - page.box("#step")[0]) < 3, 30, "the strip under its slider")
    unnamed = "filter(b => !(b.innerText.trim() || b.title || b.ariaLabel)).map(b => b.outerHTML)"
    buttons = f"{inspector} button:not(.widget-play button)"  # those of ipywidgets' Play cannot be named
    assert page.evaluate(f"[...document.querySelectorAll('{buttons}')].{unnamed}") == []
    slider, (middle, _, width, _) = "#alpha", page.box("#track")

    page.drag(slider, middle - width / 2 + 0.15 * width)
    wait(lambda: numbers(page, "weight")[1] < 0.3, 30, "weights after the drag to the left")
    before = numbers(page, "entropy")
    kl = numbers(page, "KL")
    page.drag(slider, middle + 0.35 * width)
    wait(lambda: numbers(page, "weight")[1] > 0.7, 30, "weights after the drag to the right")
    after = numbers(page, "entropy")
    assert after[:2] == before[:2] and after[2] != before[2] and numbers(page, "KL") == kl

    start = int(page.evaluate(CLOCK).split()[1])
    page.click(".widget-play button")
    wait(lambda: int(page.evaluate(CLOCK).split()[1]) > start + 1, 30, "the episode at play")
    picture = "document.querySelector('.widget-image').naturalWidth"
    assert page.evaluate(picture) == 384

    page.evaluate("document.querySelectorAll('.widget-play button')[1].click(), null")
    page.click(page.mark("button", "sweep α", "sweep"))
    wait(lambda: page.evaluate("document.querySelector('#sweep').offsetWidth") == 0, 600, "the end of the sweep")
    assert "measured and kept beside the run" in page.evaluate(OUTPUTS)
    for _ in portraits(page, pictures, "06", inspector):
        wait(lambda: beyond(page, inspector) == [], 10, "all of the inspector in its place")
    page.evaluate(f"{PANEL}.sessionContext.shutdown().then(() => null)")
    assert max(loaded_pictures(page)) > 900  # the state's picture needs no kernel


def look(page, theme, width):
    """Another theme and width of the window."""
    page.resize(width, 1100)
    page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: '{THEMES[theme]}'}})")
    wait(lambda: page.evaluate("document.body.dataset.jpThemeName") == THEMES[theme], 30, f"the theme {theme}")
    page.evaluate("new Promise(r => setTimeout(r, 500))")  # what follows the window's width


def portraits(page, directory, name, selector):
    """Pictures of an element, in both themes and widths; yields in each look."""
    for width in (1440, 1000):
        for theme in THEMES:
            look(page, theme, width)
            yield theme
            page.photograph(directory / f"notebook_{name}_{width}_{theme}.png", selector)


def beyond(page, selector):
    """What of an element is cut off at its right, or lies outside of its output."""
    inside = f"document.querySelector('{selector}')"
    right = f"{inside}.closest('.jp-OutputArea-output').getBoundingClientRect().right"
    far = f"e => e.offsetWidth && e.getBoundingClientRect().right > {right} + 1"
    return page.evaluate(f"[...{inside}.querySelectorAll('*')].filter({far}).map(e => e.outerHTML.slice(0, 90))")


def rows(page):
    """The methods and seeds of the runs in the table, from top to bottom."""
    cells = page.evaluate("[...document.querySelectorAll('.mm-table tbody tr')].map(r => r.innerText.split('\\t'))")
    return [(cell[2], cell[3]) for cell in cells]


def test_notebook_10_run_browser(lab, page, pictures, tmp_path):
    figure = ROOT / "results" / "quick" / "figure3" / MINI
    for method, seed in (("mm", 1), ("mm", 2), ("mm", 3), ("small", 1)):
        name = f"{method}/seed{seed}"
        shutil.copytree(figure / name, tmp_path / "quick" / "figure3" / MINI / name)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    opened(lab, page, "10_runs.ipynb", results=str(tmp_path))
    text = "document.querySelector('.mm-text').innerText"
    page.click(".mm-table tr:has-text('broken')")
    wait(lambda: "broken: " in page.evaluate(text), 30, "what is broken")

    page.click(page.mark(".mm-table th button", "^seed", "by-seed"))
    assert [seed for _, seed in rows(page)] == ["1", "1", "2", "3", ""]
    page.click(page.mark(".mm-table th button", "^seed", "by-seed"))
    assert rows(page)[1:3] == [("mm", "3"), ("mm", "2")]
    cell = "document.querySelector('.mm-table td.number')"
    assert page.evaluate(f"getComputedStyle({cell}).textAlign") == "right"
    assert page.evaluate(f"[...document.querySelectorAll('.mm-table td')].some(e => e.title === {MINI!r})")

    for place, held in enumerate(([], ["Control"], ["Control"], ["Control"])):
        page.page.locator(".mm-table tbody tr:has-text('done')").nth(place).click(modifiers=held)
    legend = "[...document.querySelectorAll('.legendtext')].map(e => e.textContent)"
    wait(lambda: set(page.evaluate(legend)) == {"mm (3 seeds)", "small"}, 60, "seeds as one line")
    plot = page.page.locator(".js-plotly-plot .nsewdrag").first
    plot.hover()
    wait(lambda: page.evaluate("!!document.querySelector('.hoverlayer .hovertext')"), 30, "a value at the pointer")
    ticks = "[...document.querySelectorAll('.xtick text')].map(e => e.textContent)"
    before, box = page.evaluate(ticks), plot.bounding_box()
    page.page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 50)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 55, steps=5)
    page.page.mouse.up()
    wait(lambda: page.evaluate(ticks) != before, 30, "a part of the curves")

    page.evaluate(f"document.querySelector('{BROWSER}').closest('.jp-OutputArea').id = 'browser'")
    for _ in portraits(page, pictures, "10", "#browser"):
        wait(lambda: beyond(page, BROWSER) == [], 10, "all of the browser in its place")

    shutil.copytree(figure / "small" / "seed2", tmp_path / "quick" / "figure3" / MINI / "small" / "seed2")
    wait(lambda: len(rows(page)) == 6, 60, "a run that came later")
    page.click("button:has-text('export CSV')")
    wait(lambda: len([*tmp_path.rglob("episodes.csv")]) == 4, 60, "the runs as CSV")
    page.click(page.mark("button", "Configuration", "configuration"))
    page.page.locator(".mm-table tbody tr:has-text('done')").first.click()
    wait(lambda: "agent_steps" in page.evaluate(text), 30, "its settings")


def test_an_executed_notebook_is_trusted_and_its_verdicts_have_the_pages_colours(lab, page, pictures):
    root, address = lab
    given = {"results": str(root / "results"), "preset": "quick"}
    (root / "executed").mkdir(exist_ok=True)
    assert execute(ROOT / "notebooks" / "08_claims.ipynb", root / "executed" / "08_claims.ipynb", given) is None
    show(page, address("executed/08_claims.ipynb"))
    verdict = (
        "[...document.querySelectorAll('.jp-RenderedHTMLCommon td')].find(e => /enough|hold|unde/.test(e.innerText))"
    )
    wait(lambda: page.evaluate(f"!!{verdict}"), 60, "the table of verdicts")
    seen, inside = set(), "document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-outer')"
    page.evaluate(f"{verdict}.closest('.jp-RenderedHTMLCommon').id = 'verdicts'")
    for _ in portraits(page, pictures, "08", "#verdicts"):
        assert page.evaluate(f"getComputedStyle({verdict}).backgroundColor") != "rgba(0, 0, 0, 0)"
        seen.add(page.evaluate(f"getComputedStyle({verdict}).color"))
        right = "document.querySelector('#verdicts table').getBoundingClientRect().right"
        assert page.evaluate(f"{right} <= {inside}.getBoundingClientRect().right")
    assert len(seen) == 2  # dark letters on light, light ones on dark


def test_notebook_10_live_run(lab, page, tmp_path):
    """Started, stopped and resumed with its buttons; it goes on when the notebook's kernel is shut down."""
    words = "[...document.querySelectorAll('.widget-html')].map(e => e.innerText.trim())"
    state = f"{words}.find(t => /^(new|starting|running|stopping|stopped), .* frames/.test(t)) || ''"
    one = Path("quick", "figure3", MINI, "small", "seed1")
    shutil.copytree(ROOT / "results" / one, tmp_path / one)
    opened(lab, page, "10_runs.ipynb", results=str(tmp_path), preset="quick")
    directory = tmp_path / "quick" / "live" / QUICK / "mm" / "seed0"
    try:
        page.click(page.mark("button", "^ ?Start$", "start"))
        wait(lambda: re.match(r"running, (?!0\.00)\d", page.evaluate(state)), 120, "a run that learns")
        page.click(page.mark("button", "^ ?Stop$", "stop"))
        wait(lambda: page.evaluate(state).startswith("stopped"), 120, "a stopped run")
        assert (directory / "checkpoint.pt").exists() and not being_written(directory)
        page.click(page.mark("button", "^ ?Resume$", "resume"))
        wait(lambda: page.evaluate(state).startswith("running"), 120, "a run that goes on")
        page.evaluate(f"{PANEL}.sessionContext.shutdown().then(() => null)")
        reached = live.attach(directory).status().frames
        wait(lambda: live.attach(directory).status().frames > reached, 120, "a run without its notebook")
    finally:
        if being_written(directory):
            live.attach(directory).stop()
    wait(lambda: live.attach(directory).status().state == "stopped", 120, "the end of the run")
