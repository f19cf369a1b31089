"""The MixtureInspector: a run's checkpoint at play, and its policies mixed again with any weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]
from IPython.display import display

from mmlib.experiments.run_table import find_choices
from mmlib.numerics.threads import one_thread
from mmlib.training import checkpoint
from mmlib.training.trained import Subject, open_subject
from mmlib.widgets import charts, recording
from mmlib.widgets import inspector_view as view
from mmlib.widgets.alpha_sweep import EPISODES
from mmlib.widgets.background import Background, GoOn
from mmlib.widgets.interactive import Picture, png, widgets_shown
from mmlib.widgets.recording import SECONDS, VIEW, Recording
from mmlib.widgets.sweep_panel import SweepPanel
from mmlib.widgets.weight_sliders import WeightSliders

CHECKPOINTS = {checkpoint.FILE: "newest", checkpoint.PREVIOUS: "the one before"}
PICTURE: Any = {"flex": "1 1 240px", "min_width": "0", "max_width": f"{VIEW[0]}px", "height": "auto"}
STRIP_MARGIN = "0 8px"  # half the step slider's handle: a step of the strip lies under that of the slider
BESIDE: Any = {"flex_flow": "row wrap", "grid_gap": "6px 8px", "align_items": "center", "width": "100%"}


def inspect(
    root: str | Path,
    pictures: Path,
    *,
    member: int,
    seed: int,
    seconds: float,
    episodes: int,
) -> MixtureInspector | Recording | None:
    """Displays the inspector, and below it a picture of a telling state, which follows what is chosen in it.

    Where there is nobody to use a widget, the picture alone: of the first run with a mixture. The picture is kept as
    `<pictures>/state.png`, where that can be written.

    Returns:
      What knows the `subject` and its `recording`; None if nothing can be inspected, which is then said in words.
    """
    picture = Picture()

    def draw(made: Recording) -> None:
        drawn = png(charts.state_figure(made, charts.telling_step(made)))
        picture.draw(drawn)
        with contextlib.suppress(OSError):  # where nothing can be written it is here alone
            pictures.mkdir(parents=True, exist_ok=True)
            (pictures / "state.png").write_bytes(drawn)

    if widgets_shown():
        inspector = MixtureInspector(root, member=member, seed=seed, seconds=seconds, episodes=episodes)
        display(inspector)
        picture.show()
        inspector.follow(draw)
        return inspector
    try:
        subject = open_subject(find_choices(root)[0].directory, member=member)
    except ValueError as error:
        print(error)
        return None
    made = recording.record(subject, seed, seconds=seconds)
    print(f"{subject.directory}, member {member}: {view.sentence(subject)}")
    print(f"return {made.rewards.sum():g} in {made.seconds(len(made)):g} s")
    draw(made)
    picture.show()
    return made


class MixtureInspector(widgets.VBox):
    """Choose a run, a checkpoint and a member; watch a recorded episode; mix its policies again.

    What cannot be shown is said in words, in the widget.

    Args:
      root: a run's directory, or one that holds runs (the root of the results).
      member: of the population that is opened first.
      seed: of the recorded episode: the level's maps and the actions.
      seconds: of play recorded at most.
      episodes: played at each alpha of the sweep.
    """

    def __init__(
        self,
        root: str | Path = "results",
        *,
        member: int = 0,
        seed: int = 1,
        seconds: float = SECONDS,
        episodes: int = EPISODES,
    ):
        self.root, self.seconds = Path(root), seconds
        self.subject: Subject | None = None
        self.recording: Recording | None = None
        self._strip = ""  # the drawing
        self._follower: Callable[[Recording], object] = lambda _: None
        self.work = Background()  # the recording under way
        self._make_choosers(seed)
        self._make_player()
        self._make_panels(episodes)
        super().__init__(self._arranged(), layout={"width": "100%", "max_width": "1400px", "grid_gap": "6px"})
        self._find(member)

    def _make_choosers(self, seed: int) -> None:
        def drop(title: str, flex: str) -> Any:
            style = {"description_width": "initial"}
            return widgets.Dropdown(description=title, layout={"flex": flex, "width": "auto"}, style=style)

        self.run, self.level = drop("run", "1 1 280px"), drop("level", "0 1 auto")
        self.checkpoint, self.member = drop("checkpoint", "0 0 215px"), drop("member", "0 0 120px")
        self.seed = widgets.BoundedIntText(seed, 0, 2**31 - 1, description="seed", layout={"width": "130px"})
        self.seed.style.description_width = "initial"
        self.again = widgets.Button(
            description="record with these weights", icon="circle", tooltip="Play it again", layout={"width": "210px"}
        )
        for chooser in (self.run, self.checkpoint, self.member, self.level):
            chooser.observe(self._choose, "value")
        self.seed.observe(lambda _: self._record(), "value")
        self.again.on_click(lambda _: self._record(weights=self.weights.weights))

    def _make_player(self) -> None:
        self.step = widgets.IntSlider(min=0, max=0, readout=False, layout={"width": "100%", "margin": "2px 0"})
        self.play = widgets.Play(min=0, max=0, show_repeat=False)
        widgets.jslink((self.play, "value"), (self.step, "value"))
        self.back, self.on = (
            widgets.Button(description=words, tooltip=f"one step {words}", icon=icon, layout={"width": "76px"})
            for words, icon in (("back", "step-backward"), ("on", "step-forward"))
        )
        self.back.on_click(lambda _: self._go(-1))
        self.on.on_click(lambda _: self._go(1))
        self.clock, self.strip = widgets.HTML(), widgets.HTML(layout={"width": "auto", "margin": STRIP_MARGIN})
        self.picture = widgets.Image(format="jpeg", layout=PICTURE)
        self.map = widgets.Image(format="png", layout=PICTURE)
        self.step.observe(lambda _: self._show_step(), "value")

    def _make_panels(self, episodes: int) -> None:
        self.weights = WeightSliders(lambda: self._show_mixture(moved=True))
        self.about, self.message = widgets.HTML(), widgets.HTML()
        self.table, self.joint, self.groups = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.busy = widgets.FloatProgress(max=1.0, description="recording", layout={"width": "360px"})
        self.sweep = SweepPanel(episodes)

    def _arranged(self) -> list[Any]:
        """The parts in their places; what does not fit beside the others goes below them."""

        def column(parts: list[Any], flex: str, flow: str = "column") -> Any:
            layout = {"flex": flex, "flex_flow": flow, "grid_gap": "8px", "min_width": "0"}
            return widgets.Box(parts, layout={**layout, "align_items": "stretch" if flow == "column" else "flex-start"})

        panels = [
            column([self.picture, self.map], "3 1 300px", "row wrap"),
            column([self.weights, self.table, self.joint], "4 1 360px"),
            column([self.groups], "2 1 250px"),
        ]
        self.body = widgets.VBox(
            [
                widgets.HBox([self.play, self.back, self.on, self.clock], layout=BESIDE),
                self.step,
                self.strip,
                widgets.HBox(panels, layout={**BESIDE, "grid_gap": "10px 22px", "align_items": "flex-start"}),
                self.sweep,
            ],
            layout={"width": "100%", "grid_gap": "4px", "display": "none"},
        )
        choosers = [
            widgets.HBox([self.run, self.checkpoint, self.member, self.level], layout=BESIDE),
            widgets.HBox([self.seed, self.again, self.about], layout=BESIDE),
        ]
        return [widgets.HTML(view.STYLE), *choosers, self.busy, self.message, self.body]

    def follow(self, shown: Callable[[Recording], object]) -> None:
        """Calls `shown` with every recording that is shown from now on, and with the one that is there."""
        self._follower = shown
        if self.recording is not None:
            shown(self.recording)

    # choosing

    def _fill(self, chooser: Any, options: Sequence[Any], chosen: int = 0) -> None:
        """Other options, whose choice nobody is told of."""
        chooser.unobserve(self._choose, "value")
        chooser.options, chooser.index = options, chosen if options else None
        chooser.observe(self._choose, "value")

    def _find(self, member: int) -> None:
        """Fills the list of runs, and opens a member of the first."""
        try:
            found = find_choices(self.root)
        except ValueError as error:
            self._say(str(error))
            return
        named = [(f"{c.label}  ({c.problem})" if c.problem else c.label, c.directory) for c in found]
        self._fill(self.run, named)
        self._choose_run(member)

    def _choose_run(self, member: int = 0) -> None:
        """Another run: its checkpoints; then opens the newest."""
        files = [(CHECKPOINTS[name], name) for name in checkpoint.names(self.run.value)]
        self._fill(self.checkpoint, files)
        self._fill(self.member, ())
        self._fill(self.level, ())
        self._open(member, 0)

    def _choose(self, change: Any) -> None:
        """Another run, or another checkpoint, member or level of it."""
        if change["owner"] is self.run:
            self._choose_run()
        else:
            self._open(self.member.index or 0, self.level.index or 0)

    def _open(self, member: int, task: int) -> None:
        """Opens a member of the checkpoint, and records an episode of it."""
        try:
            subject = open_subject(self.run.value, self.checkpoint.value, member, task)
        except ValueError as error:
            self._say(str(error))
            return
        self._fill(self.member, range(subject.members), member)
        self._fill(self.level, subject.config.levels, task)
        for chooser in (self.member, self.level):
            chooser.layout.display = "" if len(chooser.options) > 1 else "none"
        self.subject, self.recording = subject, None
        self.weights.begin(subject.acting_weights)
        self.sweep.begin(subject)
        self.about.value = view.note(view.sentence(subject))
        self._record()

    # recording

    def _record(self, weights: tuple[float, ...] | None = None) -> None:
        """Records an episode in the background; a recording under way is given up."""
        if (subject := self.subject) is None:
            return
        seed = self.seed.value
        self.message.value, self.busy.value, self.busy.layout.display = "", 0.0, ""

        def work(go_on: GoOn) -> None:
            def progress(share: float) -> None:
                go_on()
                self.busy.value = share

            made = recording.record(subject, seed, weights, self.seconds, progress)
            go_on()
            self._show_recording(made)

        self.work.begin(work, lambda why: self._say(f"no episode could be recorded: {why}"))

    # showing

    def _say(self, text: str) -> None:
        """Words in place of the picture."""
        self.subject = self.recording = None
        self.work.stop()
        self.sweep.work.stop()
        self.message.value, self.about.value = view.say(text), ""
        self.body.layout.display = self.busy.layout.display = "none"

    def _show_recording(self, made: Recording) -> None:
        self.recording = made
        self.busy.layout.display = "none"
        last = len(made) - 1
        self.play.interval = round(1000 * made.seconds(1))
        self.step.value = self.play.value = 0
        self.step.max = self.play.max = last
        self.picture.layout.display = "" if made.views else "none"
        self.map.layout.display = "" if made.maps else "none"
        self._show_mixture(moved=True)
        self._show_step()
        self.body.layout.display = ""
        self._follower(made)

    def _go(self, steps: int) -> None:
        self.step.value += steps  # which the slider keeps within its bounds

    def _show_step(self) -> None:
        """The pictures of the step that the slider is at, and its policies."""
        if (made := self.recording) is None:
            return
        t = self.step.value
        if made.views:
            self.picture.value = made.views[t]
        if made.maps:
            self.map.value = made.map_with_trail(t)
        label = made.subject.agent.space.label(made.actions[t])
        reward, total = made.rewards[t], made.rewards[: t + 1].sum()
        self.clock.value = (
            f'<div class="mmi">step <b>{t}</b> of {len(made) - 1}, {made.seconds(t):.1f} s; '
            f"return {total:g}{f' (<b>{reward:+g}</b>)' if reward else ''}<br>takes <b>{label}</b></div>"
        )
        self._show_mixture()

    @one_thread()
    def _show_mixture(self, moved: bool = False) -> None:
        """The bars and numbers of the step under the sliders' weights; `moved`: the weights are new."""
        if (made := self.recording) is None:
            return
        subject, weights, t = made.subject, self.weights.weights, self.step.value
        method, task = subject.config.method, subject.task
        mixed = made.remix(t, weights)
        self.table.value = view.table(mixed, method, view.names(subject.agent, task))
        self.joint.value = view.joint_panels(mixed, method, int(made.actions[t]))
        self.groups.value = view.group_panels(mixed, method)
        if moved:
            self._strip = charts.strip(made, weights)
            self.sweep.at(self.weights.alpha)
        self.strip.value = self._strip.replace(charts.AT, str(t))
