"""The code in README.md and docs/ is run, and the commands there are commands.

Every ```python block is executed, the blocks of a page one after another, in a scratch directory that has a copy of two
committed runs. A block after a line `<!-- not run: why -->` is only compiled. In all other blocks the lines that begin
with mmlib, python -m, make or papermill are checked without being run: by the command line's own parser, the Makefile's
targets, the notebook's parameters. A ```console block has no other lines.
"""

import importlib
import io
import re
import shlex
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import papermill
import pytest
import typer

from mmlib.alternatives import methods
from mmlib.cli.main import app
from mmlib.figures import style
from mmlib.levels import LEVELS, foreign
from mmlib.levels.table import SPECS
from mmlib.method.losses import PAIR_COSTS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WHY = r"(<!-- not run: (?P<why>.+?) -->\n)?"
BLOCK = re.compile(WHY + r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
COPIED = "quick/figure3/explore_object_locations_small_mini"


def blocks(page):
    return [match.groupdict() for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def commands(text):
    """The lines of a block, with continued ones joined, without prompts and comments."""
    lines = text.replace("\\\n", " ").splitlines()
    parts = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if "'" not in line]
    return [words for words in parts if words]


def check(words):
    """Raises unless a command could be run; returns whether its program is one that is checked."""
    program, *arguments = words
    if program.endswith("mmlib"):
        group = typer.main.get_command(app)
        if arguments[0].startswith("--"):
            return arguments[0] in {option for each in group.params for option in each.opts} | {"--help"}
        name, command, rest = group.resolve_command(typer.Context(group), arguments)
        if "--help" not in rest and name is not None:
            command.make_context(name, rest)
    elif program == "python" and arguments[0] == "-m":
        program = importlib.import_module(arguments[1])
        if hasattr(program, "__path__"):
            program = importlib.import_module(f"{arguments[1]}.__main__")
        typer.main.get_command(program.app).make_context(arguments[1], arguments[2:])
    elif program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in arguments if "=" not in word} <= set(targets)
    elif program == "papermill":
        known = papermill.inspect_notebook(str(ROOT / arguments[0]))
        assert {arguments[i + 1] for i, word in enumerate(arguments) if word == "-p"} <= set(known)
    else:
        return False
    return True


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A directory with two runs; what the code adds to tables is taken out again."""
    for method in ("small", "mm"):
        shutil.copytree(ROOT / "results" / COPIED / method / "seed1", tmp_path / "results" / COPIED / method / "seed1")
    monkeypatch.chdir(tmp_path)
    tables = (methods.METHODS, PAIR_COSTS, style.LINES, LEVELS, SPECS, foreign.DECLARED)
    before = [dict(table) for table in tables]
    yield tmp_path
    for table, kept in zip(tables, before):
        table.clear()
        table.update(kept)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_blocks_run(page, scratch):
    names, said = {"__name__": page.stem}, io.StringIO()
    for number, block in enumerate(blocks(page)):
        if block["kind"] == "python":
            code = compile(block["text"], f"{page.name}, block {number}", "exec")
            if block["why"] is None:
                with redirect_stdout(said):
                    exec(code, names)
    assert "Traceback" not in said.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_commands(page):
    for block in blocks(page):
        if block["kind"] in ("", "console", "bash", "sh"):
            for words in commands(block["text"]):
                assert check(words) or block["kind"] != "console", words


def test_what_is_no_command_is_noticed():
    for wrong in (
        *("mmlib trane", "mmlib train --metod mm", "mmlib train --seed one", "mmlib schedule"),
        "python -m tools.calibration --sead 1",
    ):
        with pytest.raises(Exception, match=r"(?i)no such|valid integer|missing"):
            check(shlex.split(wrong))
    for wrong in ("make figures", "papermill notebooks/10_runs.ipynb out.ipynb -p resluts x"):
        with pytest.raises(AssertionError):
            check(shlex.split(wrong))


def test_the_pages_have_code_of_both_kinds():
    found = {page.stem: [block["kind"] for block in blocks(page)] for page in PAGES}
    for name in ("quickstart", "figures", "results", "adding_a_level", "adding_a_curriculum"):
        assert {"python", "console"} <= set(found[name]), name


def test_the_worked_curriculum_is_short():
    block = blocks(ROOT / "docs" / "adding_a_curriculum.md")[0]["text"]
    assert len([line for line in block.splitlines() if line.strip()]) < 30


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "notebooks").glob("*.ipynb"))], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
