"""The table of runs, its pictures and its widget, over a directory with good runs and broken ones."""

import asyncio
import base64
import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import scipy.stats
from PIL import Image
from typer.testing import CliRunner

from mmlib.cli.main import app
from mmlib.config import make_config
from mmlib.errors import ResultsError
from mmlib.experiments import run_table
from mmlib.runs.owner import claimed
from mmlib.runs.reader import Run, run_directory
from mmlib.runs.writer import RunWriter, compress
from mmlib.widgets import interactive, run_browser
from mmlib.widgets.live import Experiment
from mmlib.widgets.live_widget import LiveWidget
from mmlib.widgets.run_browser import RunBrowser

LEVEL = "explore_object_locations_small_mini"
PNG = b"\x89PNG\r\n"


def write(directory, method="mm", seed=1, state="done", members=1, **settings):
    values = {"level": LEVEL, "method": method, "seed": seed, "agent_steps": 1000, "population": members, **settings}
    config = {**make_config(values).model_dump(mode="json"), "backend_in_force": "minilab"}
    with RunWriter(directory, config) as writer:
        for frames in (2000, 4000):
            for member in range(members):
                hyper = {"alpha": frames / 4000, "learning_rate": 1e-3 * (member + 1), "entropy_cost": 1e-3}
                writer.append(
                    "metrics", [{"frames": frames, "member": member, **hyper, "entropy": 2.0, "return_mean": 1.0}]
                )
                row = {"frames": frames, "member": member, "return": frames / 1000 + seed, "length_frames": 450}
                writer.append("episodes", [row] * 3)
        writer.append("timing", [{"frames": 4000, "seconds": 2.0, "agent_steps_per_second": 500.0, "stages": {}}])
        if members > 1:
            old = {"alpha": 0.1, "learning_rate": 1e-3, "entropy_cost": 1e-3}
            row = {"frames": 2000, "member": 0, "opponent": 1, "copied": True, "explored": True, "p": 0.01}
            writer.append(
                "decisions", [{**row, "mean": 1.0, "opponent_mean": 2.0, "old": old, "new": {**old, "alpha": 0.2}}]
            )
        if state != "running":
            writer.finish(state, **({} if state == "done" else {"reason": "stopped by SIGINT"}))
    return Path(directory)


@pytest.fixture
def root(tmp_path):
    place = lambda method, seed: run_directory(tmp_path, "quick", "figure3", LEVEL, method, seed)  # noqa: E731
    write(place("mm", 1), seed=1, members=2, pbt={})
    write(place("mm", 2), seed=2, entropy_cost=0.5)
    write(place("small", 1), "small", state="stopped")
    write(place("small", 2), "small", seed=2, state="running")  # and nothing is: killed
    (write(place("big756", 1), "big756") / "config.json").write_text("{")
    torn = write(place("big756", 2), "big756", seed=2) / "episodes.jsonl"
    torn.write_text(torn.read_text() + "not json\n")
    (write(place("big756", 3), "big756") / "config.json").unlink()
    (write(place("big756", 4), "big756") / "config.json").write_text("[]")
    return tmp_path


def test_the_table_has_every_run_broken_ones_too(root):
    table = run_table.runs_table(root).set_index(["method", "seed"])
    states = table["state"].to_dict()
    assert states == {("mm", "1"): "done", ("mm", "2"): "done", ("small", "1"): "stopped", ("small", "2"): "killed"} | {
        ("big756", seed): "broken" for seed in "1234"
    }
    assert table["reason"]["big756", "1"].startswith(f"{root}") and "cannot be read" in table["reason"]["big756", "1"]
    assert "episodes.jsonl is damaged: line 7" in table["reason"]["big756", "2"]
    assert "config.json cannot be read" in table["reason"]["big756", "3"]
    assert "it is a list, not an object" in table["reason"]["big756", "4"]
    row = table.loc["mm", "2"]
    assert (row["frames"], row["total_frames"], row["last_return"]) == (4000, 4000, 5.0)  # (2+2)*3 and (4+2)*3
    assert (row["preset"], row["figure"], row["level"], row["checkpoint"]) == ("quick", "figure3", LEVEL, "none")


def test_a_packed_run_is_in_the_table_as_it_was(root):
    before = run_table.runs_table(root)
    for path in (root / "quick" / "figure3" / LEVEL / "mm").glob("seed*/config.json"):
        compress(path.parent)
    assert run_table.runs_table(root).equals(before)


def test_a_run_that_is_being_written_is_running(tmp_path):
    directory = tmp_path / "a" / "seed1"
    config = {"level": LEVEL, "method": "mm", "seed": 1, "agent_steps": 10}
    with RunWriter(directory, config):
        assert run_table.runs_table(tmp_path)["state"].tolist() == ["running"]
    assert run_table.runs_table(tmp_path)["state"].tolist() == ["killed"]
    assert run_table.runs_table(directory)["seed"].tolist() == ["1"]  # the run itself as the root


def test_runs_without_an_episode_are_listed_by_the_command(tmp_path):
    RunWriter(tmp_path / "quick" / "runs" / LEVEL / "mm" / "seed1", {"level": LEVEL, "method": "mm", "seed": 1}).close()
    listed = CliRunner().invoke(app, ["runs", "--results", str(tmp_path)])
    assert listed.exit_code == 0 and listed.output.split()[-5:] == [LEVEL, "mm", "1", "0", "killed"]


def test_filters(root):
    table = run_table.runs_table(root)
    chosen = lambda text: [*map(tuple, run_table.filtered(table, text)[["method", "seed"]].to_numpy())]  # noqa: E731
    assert chosen("MM done") == [("mm", "1"), ("mm", "2")]
    assert chosen("broken seed2") == [("big756", "2")]
    assert chosen("small killed") == [("small", "2")] and len(chosen("small")) == 8  # the level's name too
    assert chosen("nothing like it") == [] and len(chosen("")) == 8


def test_settings_of_one_run_and_those_in_which_several_differ(root):
    place = root / "quick" / "figure3" / LEVEL
    write(place / "mm" / "seed4", seed=4, agent_steps=2000)
    one, two, small, longer = (Run(place / name) for name in ("mm/seed1", "mm/seed2", "small/seed1", "mm/seed4"))
    table = run_table.settings([one, two]).set_index("setting")
    assert list(table.index) == ["entropy_cost", "pbt", "population", "seed"]
    assert table.loc["entropy_cost"].to_dict() == {str(one.directory): 0.003, str(two.directory): 0.5}
    table = run_table.settings([two, small, longer]).set_index("setting")
    assert list(table.index) == ["agent_steps", "entropy_cost", "method", "seed"]
    assert table.loc["method"].tolist() == ["mm", "small", "mm"]
    table = run_table.settings([one]).set_index("setting")
    assert table[str(one.directory)].to_dict() == one.config
    assert run_table.settings([one, one]).empty


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(ResultsError, match=r"no results in .*nowhere"):
        RunBrowser(tmp_path / "nowhere")


def drawn(picture):
    return isinstance(picture.value, dict) or picture.value.startswith(PNG)


def directory(browser, method, seed):
    rows = browser.runs
    return rows[(rows["method"] == method) & (rows["seed"] == seed)]["directory"].item()


def browse(root, *wanted):
    browser = RunBrowser(root)
    browser.table.chosen = [directory(browser, *each) for each in wanted]
    return browser


def test_one_run_in_every_view(root):
    browser = browse(root, ("mm", "1"))
    seen = []
    for view in ("Curves", "Hyperparameters", "Lineage"):
        browser.view.value = view
        assert drawn(browser.picture)
        seen.append(str(browser.picture.value))
    assert len(set(seen)) == 3
    assert "without a checkpoint" in browser.words.value
    browser.view.value = "Configuration"
    assert not drawn(browser.picture) and "<td>entropy_cost</td>" in browser.words.value


def test_a_run_without_a_population_has_no_lineage(root):
    browser = browse(root, ("mm", "2"))
    browser.view.value = "Lineage"
    assert "nothing to draw" in browser.words.value and not drawn(browser.picture)


def test_two_runs_are_compared(root):
    browser = browse(root, ("mm", "2"), ("small", "1"))
    assert drawn(browser.picture)
    for text in ("<td>entropy_cost</td>", "<td>0.5</td>", "<td>method</td>", "stopped by SIGINT"):
        assert text in browser.words.value
    browser = browse(root, ("mm", "1"), ("mm", "2"), ("small", "1"))
    assert "<td>" not in browser.words.value
    browser.view.value = "Configuration"
    assert "<td>entropy_cost</td>" in browser.words.value and not drawn(browser.picture)


def test_the_lineages_of_two_populations_stand_below_each_other(root):
    write(run_directory(root, "quick", "figure3", LEVEL, "mm", 3), seed=3, members=2, pbt={})
    browser = browse(root, ("mm", "1"), ("mm", "3"))
    browser.view.value = "Lineage"
    both = Image.open(io.BytesIO(browser.picture.value))
    browser.table.chosen = browser.table.chosen[:1]
    one = Image.open(io.BytesIO(browser.picture.value))
    assert both.size == (one.width, 2 * one.height)


def test_runs_that_differ_in_more_than_their_seed_are_lines_of_their_own(root):
    browser = browse(root, ("mm", "1"), ("mm", "2"))  # of another entropy cost, and not a population
    names = [t["name"] for t in browser.picture.value["data"] if t["showlegend"]]
    assert len(names) == 2 and all("entropy_cost" in name and "population" in name for name in names)


def test_a_mean_ends_where_one_of_its_seeds_does(root):
    for seed, length in ((5, 4000), (6, 4000), (7, 2000)):
        directory = write(run_directory(root, "quick", "figure3", LEVEL, "mm", seed), seed=seed)
        if length == 2000:  # it has come half of the way
            for name in ("metrics", "episodes"):
                path = directory / f"{name}.jsonl"
                path.write_text("".join(r for r in path.read_text().splitlines(True) if '"frames": 2000' in r))
    browser = browse(root, ("mm", "5"), ("mm", "6"), ("mm", "7"))
    line = next(t for t in browser.picture.value["data"] if t["xaxis"] == "x" and t["showlegend"])
    assert line["name"] == "mm (3 seeds)" and max(line["x"]) <= 2000 and set(line["y"]) == {8.0}


def test_seeds_are_one_line_with_its_interval_or_one_each(root):
    for seed in (5, 6):
        write(run_directory(root, "quick", "figure3", LEVEL, "mm", seed), seed=seed)
    browser = browse(root, ("mm", "5"), ("mm", "6"), ("small", "1"))
    returns = [t for t in browser.picture.value["data"] if t["xaxis"] == "x"]
    assert [(t["name"], "fill" in t) for t in returns] == [
        *(("mm (2 seeds)", False), ("mm (2 seeds)", True), ("small", False))
    ]
    assert [returns[0]["y"][k] for k in (0, -1)] == [7.5, 9.5]  # seeds 5 and 6: 2 + seed, then 4 + seed
    half = scipy.stats.t.ppf(0.975, 1) * 0.5  # of 7 and 8: standard deviation over the root of 2
    assert returns[1]["y"][0] == pytest.approx(7.5 + half, abs=1e-3)
    assert not [t for t in browser.picture.value["data"] if t["xaxis"] == "x3" and t["name"] == "small" and t["y"]]
    browser.together.value = False
    alone = [t["name"] for t in browser.picture.value["data"] if t["showlegend"]]
    assert alone == ["mm, seed 5", "mm, seed 6", "small, seed 1"]
    browser.smoothing.value = 20
    first = browser.picture.value["data"][0]["y"]
    assert (first[0], first[-1]) == (7.0, 8.0)  # the second is the mean of 7 and 9


def test_a_broken_run_says_why_and_the_others_work(root):
    browser = browse(root, ("big756", "2"))
    assert "is damaged: line 7" in browser.words.value and not drawn(browser.picture)
    browser.table.chosen = [directory(browser, "mm", "2")]
    assert drawn(browser.picture)


def test_a_run_deleted_behind_its_back_is_said_in_words(root):
    browser = browse(root, ("mm", "1"))
    shutil.rmtree(browser.table.chosen[0])
    browser.view.value = "Configuration"
    assert "cannot be shown" in browser.words.value
    browser.read_again()
    assert len(browser.runs) == 7 and browser.table.chosen == []


def test_the_table_follows_words_and_keeps_what_is_chosen(root):
    browser = browse(root, ("mm", "1"))
    browser.text.value = "done"
    assert len(browser.table.rows) == 2 and len(browser.table.chosen) == 1
    assert "2 of 8 runs" in browser.count.value
    browser.text.value = "big756"
    assert "4 of them broken" in browser.count.value and browser.table.chosen == []
    row = next(row for row in RunBrowser(root).table.rows if row["key"].endswith("mm/seed2"))
    assert (row["cells"]["frames"], row["texts"]["frames"], row["texts"]["last_return"]) == (4000.0, "4,000", "5")


def test_the_table_follows_the_disk_by_itself(root, monkeypatch):
    monkeypatch.setattr(run_browser, "POLL", 0.01)
    browser = browse(root, ("mm", "2"))

    async def watched():
        browser.follow()
        write(run_directory(root, "quick", "figure3", LEVEL, "mm", 9), seed=9)
        while len(browser.runs) == 8:
            await asyncio.sleep(0.01)
        interactive.FOLLOWING.pop("runs").cancel()

    asyncio.run(asyncio.wait_for(watched(), 60))
    assert len(browser.table.rows) == 9 and len(browser.table.chosen) == 1


def test_the_table_goes_on_after_a_look_that_failed(root, monkeypatch):
    browser = browse(root, ("mm", "2"))
    monkeypatch.setattr(run_browser.run_table, "runs_table", failing(FileNotFoundError("it is being replaced")))
    browser.read_again()
    monkeypatch.undo()
    write(run_directory(root, "quick", "figure3", LEVEL, "mm", 10), seed=10)
    browser.read_again()
    assert len(browser.table.chosen) == 1 and any(row["key"].endswith("mm/seed10") for row in browser.table.rows)


def failing(error):
    def call(*arguments):
        raise error

    return call


@pytest.mark.parametrize("kind", ["CSV", "TensorBoard"])
def test_what_is_chosen_is_exported(root, kind):
    if kind == "TensorBoard":
        pytest.importorskip("tensorboard")
    browser = browse(root, ("mm", "1"), ("small", "1"))
    browser._export(kind)
    files = sorted((root / "exports" / kind).rglob("episodes.csv" if kind == "CSV" else "events*"))
    assert len(files) == (2 if kind == "CSV" else 3) and f"2 runs in {root}" in browser.exported.value  # three members
    if kind == "CSV":
        assert pd.read_csv(files[0]).equals(Run(browser.table.chosen[0]).episodes())
    assert len(run_table.runs_table(root)) == 8  # what was exported is no run


def test_without_anybody_at_a_browser_tables_and_pictures_are_shown(root, monkeypatch):
    shown = []
    for module in (run_browser, interactive):
        monkeypatch.setattr(module, "display", lambda what, **_: shown.append(what))
    RunBrowser(root).show()
    assert "mm" in shown[0].to_html() and "broken" in shown[0].to_html()
    assert len(shown) > 1 and all(base64.b64decode(each["image/png"]).startswith(PNG) for each in shown[1:])


def test_the_live_widget_shows_records_and_says_errors_beside_its_buttons(root):
    directory = root / "quick" / "figure3" / LEVEL / "small" / "seed2"
    widget = LiveWidget(Experiment(Run(directory).config, directory=directory))
    assert widget.bar.value == 1.0 and widget.words.value.startswith("killed, 4,000 of 4,000 frames")
    assert drawn(widget.picture)
    assert widget.stop.disabled and not widget.resume.disabled
    assert "mm-silent" not in widget.words.value and str(directory.resolve()) in widget.children[0].value
    widget.picture.value = b""
    widget.refresh()
    assert bytes(widget.picture.value) == b""  # nothing is new, so nothing is drawn
    widget.stop.disabled = False
    widget.stop.click()
    assert "no process of mmlib is training" in widget.words.value


def test_the_live_widget_follows_a_run_that_had_ended(root):
    directory = root / "quick" / "figure3" / LEVEL / "small" / "seed2"
    widget = LiveWidget(Experiment(Run(directory).config, directory=directory))
    state = json.loads((directory / "state.json").read_text())

    async def follow():
        interactive.follow("it", lambda: 1 / 0, 0.1)  # which never looks: the next takes its place
        interactive.follow("it", widget.refresh, 0.1)
        await asyncio.sleep(0.1)
        assert widget.words.value.startswith("killed, ")
        (directory / "state.json").write_text(json.dumps(state | {"state": "stopped"}))
        while widget.words.value.startswith("killed, "):
            await asyncio.sleep(0.1)
        interactive.FOLLOWING.pop("it").cancel()

    asyncio.run(asyncio.wait_for(follow(), 60))
    assert widget.words.value.startswith("stopped, ")


def test_the_live_widget_lets_the_records_of_an_ended_run_alone(root):
    directory = root / "quick" / "figure3" / LEVEL / "small" / "seed2"
    widget = LiveWidget(Experiment(Run(directory).config, directory=directory))
    shown = widget.words.value
    (directory / "timing.jsonl").write_text("{\n")  # what a look would say is damaged
    widget.refresh()
    assert widget.words.value == shown
    with claimed(directory):  # somebody goes on with it
        widget.refresh()
    assert widget.words.value.startswith("running, ")


def test_the_live_widget_survives_records_that_cannot_be_read_for_a_while(root):
    directory = root / "quick" / "figure3" / LEVEL / "small" / "seed2"
    experiment = Experiment(Run(directory).config, directory=root / ("x" * 300))
    widget = LiveWidget(experiment)
    assert "File name too long" in widget.words.value

    async def follow():
        interactive.follow("it", widget.refresh, 0.1)
        await asyncio.sleep(0.1)
        experiment.directory = directory
        while not widget.words.value.startswith("killed, "):
            await asyncio.sleep(0.1)
        interactive.FOLLOWING.pop("it").cancel()

    asyncio.run(asyncio.wait_for(follow(), 60))


def test_the_live_widget_survives_a_broken_record(root):
    directory = root / "quick" / "figure3" / LEVEL / "mm" / "seed2"
    experiment = Experiment(Run(directory).config, directory=directory)
    (directory / "timing.jsonl").write_text("{\n")
    assert "timing.jsonl is damaged" in LiveWidget(experiment).words.value


def test_the_command_lists_runs(root):
    runner = CliRunner(env={"COLUMNS": "220"})
    said = runner.invoke(app, ["runs", "--results", str(root)]).output
    assert said.count("broken") >= 4 and "is damaged: line 7" in said
    rows = json.loads(runner.invoke(app, ["runs", "done", "mm", "--results", str(root), "--json"]).output)
    assert [(row["method"], row["seed"], row["last_return"]) for row in rows] == [("mm", "1", 4.0), ("mm", "2", 5.0)]
    result = runner.invoke(app, ["runs", "--results", str(root / "nowhere")])
    assert result.exit_code == 2 and "no results in" in result.stderr


@pytest.mark.slow
def test_notebook_10_runs_from_top_to_bottom_without_a_browser(root, tmp_path):
    import papermill

    notebook, out = Path(__file__).parents[1] / "notebooks" / "10_runs.ipynb", tmp_path / "out.ipynb"
    executed = papermill.execute_notebook(str(notebook), str(out), {"results": str(root)}, progress_bar=False)
    kinds = [set(output.get("data", ())) for cell in executed.cells for output in cell.get("outputs", ())]
    assert any("text/html" in kind for kind in kinds) and sum("image/png" in kind for kind in kinds) >= 2
    assert not any("application/vnd.jupyter.widget-view+json" in kind for kind in kinds)
    text = "".join(output.get("text", "") for cell in executed.cells for output in cell.get("outputs", ()))
    assert f"mm on {LEVEL}, seed 0: new" in text
    clean = json.loads(notebook.read_text())
    assert all(cell["outputs"] == [] for cell in clean["cells"] if cell["cell_type"] == "code")
