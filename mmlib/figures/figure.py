"""A figure of the paper from its runs: planned, made where they are missing, drawn, and tabled. What notebooks call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from IPython.display import Image, display
from matplotlib.figure import Figure as Drawing
from pandas.io.formats.style import Styler

from mmlib import levels
from mmlib.alternatives.methods import METHODS
from mmlib.analysis import baselines, claims, conditions, curves, tables
from mmlib.experiments import design
from mmlib.experiments.jobs import Progress, check, default_jobs
from mmlib.experiments.jobs import run as make_runs
from mmlib.experiments.reports import LineReport
from mmlib.figures import gallery, plots, run_plots
from mmlib.figures.tables import picture, shown, tabled
from mmlib.runs import lineage
from mmlib.runs.reader import OtherRun, Run
from mmlib.spaces import SPACES
from mmlib.training.fitting import backend_in_force

NARROW, WIDE = 560, 980  # pixels of a picture on a page


class Figure:
    """A figure at a preset: `run` makes the runs that are missing, everything else draws what is on disk.

        figure = Figure("3", preset="smoke")
        figure.run()
        figure.panel()
        figure.table()

    Pictures and tables are for a notebook to show, and are written into `directory`.

    Args:
      name: a figure of runs: a key of `FIGURES` or of `DRAWN_WITH`.
      preset: a key of `PRESETS`.
      level: one of the figure's levels; "" is the preset's first, None all that the preset has.
      methods: some of the figure's methods; none is the preset's choice.
      seeds: of the runs that are made and drawn; none is the preset's choice.
      backend: of the levels: auto, dmlab or minilab.
      settings: of `RunConfig`, in place of the preset's.
      results: the root of the results.
      output: the root of what is drawn; "" is `results`. Elsewhere it gets a copy of the reference scores, too.
      jobs: runs at once; 0 is as many as the machine's cores carry.
      train: whether `run` makes runs.
      folder: of pictures and tables, below the preset's; "" is the folder of the figure and level.

    Raises ExperimentError, ResultsError or ConfigError, as `design.plan` does.
    """

    def __init__(
        self,
        name: str,
        *,
        preset: str = "quick",
        level: str | None = "",
        methods: Sequence[str] = (),
        seeds: Iterable[int] = (),
        backend: str = "auto",
        settings: Mapping[str, Any] | None = None,
        results: str | Path = "results",
        output: str | Path = "",
        jobs: int = 0,
        train: bool = True,
        folder: str = "",
    ) -> None:
        self.spec = design.figure_named(name)
        self.settings = {"backend": backend, **(settings or {})}
        its_levels = design.preset_named(preset, self.settings).levels(self.spec)
        its_levels = its_levels if level is None else (level or its_levels[0],)
        self.preset, self.level, self.train = preset, its_levels[0], train
        self.methods, self.seeds = methods, list(seeds)
        self.results, self.output = Path(results), Path(output or results)
        self.plan = design.plan(name, preset, its_levels, methods, self.seeds, self.settings, self.results)
        self.backend = backend_in_force(self.plan[0].config)
        self.jobs = jobs or default_jobs(self.plan)
        own = design.figure_directory(self.output, preset, name, self.level)
        self.directory = self.output / preset / folder if folder else own
        self.outcome: list[Progress] = []

    def __str__(self) -> str:
        return design.describe(self.plan)

    def run(self) -> None:
        """Makes the runs that are missing, if it may, and says which of those on disk are not drawn.

        A run that fails is an error at the end, see `files`, once the others have been drawn.
        """
        self.outcome = make_runs(self.plan if self.train else [], self.jobs, LineReport(self.jobs))
        for looked_up in ("found", "everywhere"):
            self.__dict__.pop(looked_up, None)
        for line in self.found.left_out:
            print("not shown:", line)

    @cached_property
    def found(self) -> conditions.Condition:
        """The finished runs of the plan."""
        return conditions.planned(self.plan, self.results)

    @cached_property
    def everywhere(self) -> conditions.Condition:
        """The finished runs like the plan's on every level of the figure that has any."""
        jobs, settings = list[design.Job](), {**self.settings, "backend": self.backend}
        for level in self.spec.level_names(design.preset_named(self.preset, settings).miniature):
            with contextlib.suppress(OtherRun):  # where one of these would lie
                jobs += design.plan(
                    self.spec.name, self.preset, [level], self.methods, self.seeds, settings, self.results
                )
        found = conditions.planned(jobs, self.results)
        runs = {level: {m: group for m, group in row.items() if group} for level, row in found.runs.items()}
        return replace(found, runs={level: row for level, row in runs.items() if row})

    @property
    def runs(self) -> Mapping[str, list[Run]]:
        """The finished runs on the figure's level, by method."""
        return self.found.runs[self.level]

    # --- Figures 3, 4, 6, 7, 9, the controls and the alternatives ---

    def picture(self) -> Image:
        """The level as its agent sees it, and from above where the backend draws maps."""
        about = levels.interface(self.level, self.backend).info.description
        print(f"{self.level} ({levels.resolve_backend(self.backend, self.level)}): {about}")
        agents: Any = {"views": 3, "size": gallery.AGENTS, "enlarged": 4}
        walk = gallery.walk(self.level, gallery.wander(), seed=1, backend=self.backend, **agents)
        return self._shown(gallery.figure({self.level: walk}), "level", ["png"], width=None)

    def panel(self, groups: Mapping[str, Sequence[str]] | None = None) -> Image:
        """Learning curves: one panel, or one a level where the agents have several.

        Args:
          groups: methods by a title, for more than one panel carries: a panel a group of which there are runs, where
            the methods of no group are in each.
        """
        tasks, learned = self.level.split("+"), curves.learning(self.runs)
        spaces = [name for name in dict.fromkeys(METHODS[method].space.name for method in self.runs) if name in SPACES]
        spaces = spaces if baselines.apply_to(self.found.settings) else []
        random = {name: baselines.scores(self._scores(), name, spaces, self.backend) for name in tasks}
        if len(tasks) > 1:
            drawn = {name: learned[learned["level"] == name] for name in tasks}
            return self._shown(plots.panels(drawn, random), "figure", width=WIDE)
        grouped = {title: set(group) for title, group in (groups or {}).items() if any(map(self.runs.get, group))}
        if len(grouped) > 1:
            every = set().union(*grouped.values())
            drawn = {title: learned[~learned["line"].isin(every - group)] for title, group in grouped.items()}
            everywhere = dict.fromkeys(drawn, random[self.level])
            return self._shown(plots.panels(drawn, everywhere, self.level), "figure", width=WIDE)
        where = self.found
        drawing = plots.learning_curves(learned, random[self.level], self.level, where.unit, where.handover)
        return self._shown(drawing, "figure")

    def table(self, *claim: str) -> Styler:
        """What the paper says beside what was measured: the claims about this figure, or those of these numbers."""
        if "+" in self.level:
            print(baselines.meaning(self._scales(self.level.split("+"), self.found)))
        where = self.everywhere if claim else self.found
        findings = [f for f in claims.findings_of(where, self.spec.name) if not claim or f.claim.number in claim]
        return tabled(claims.table(findings), self.directory, "claims")

    def side_by_side(self) -> Styler:
        """How early, how high and how soon each method learns on the figure's level, its size, and what it needs."""
        experts = {
            level: expert["mean"]
            for level in self.level.split("+")
            if baselines.apply_to(self.found.settings)
            and (expert := baselines.recorded_scores(self._scores(), level).get(self.backend, {}).get("expert"))
        }
        return tabled(tables.side_by_side(self.runs, experts), self.directory, "side_by_side")

    def average(self) -> Image:
        """Figures 4 and 7: normalised return, averaged over the levels that have runs, each counting alike."""
        found = self.everywhere.runs
        scales = self._scales(found, self.everywhere)
        print("levels:", ", ".join(found))
        normalised = curves.normalised(found, lambda name, returns: scales[name].normalise(returns))
        return self._shown(plots.normalised_panel(normalised, baselines.meaning(scales)), "average")

    def diagnostics(self) -> Image:
        """How the learning went: entropy, transfer cost, alpha, V-trace's weight, gradient, error of the value."""
        return self._shown(plots.diagnostics(self.runs), "diagnostics", ["png"], width=WIDE)

    def files(self) -> None:
        """Shows where pictures and records are. Raises RunError if a run failed."""
        display(shown(tables.summary(self.runs)))
        print(f"pictures and tables are in {self.directory}")
        check(self.outcome)

    # --- Figures 5 and 8: through time ---

    def alpha(self, name: str, title: str) -> Image:
        """alpha along the ancestry of each final member of the runs that mix, the best one's thick."""
        found = self.everywhere.runs.items()
        drawing = run_plots.alpha_trajectories({level: chain(*runs.values()) for level, runs in found}, title)
        return self._shown(drawing, name)

    def populations(self, of: Sequence[str]) -> None:
        """Shows hyperparameters and ancestries of the populations of the methods `of`."""
        drawings = {"hyperparameters": run_plots.hyperparameters, "lineage": run_plots.lineage_graph}
        for level, runs in self.everywhere.runs.items():
            for each in (run for method in of for run in runs.get(method, ()) if run.config.get("pbt")):
                name = f"{each.method}_{level}_seed{each.seed}"
                print(f"{level}, {each.method}, population {each.seed}")
                display(*(self._shown(draw(each), f"{what}_{name}", ["png"], 900) for what, draw in drawings.items()))

    def schedules(self) -> None:
        """Writes the alpha trajectory of each finished run of the plan, to be replayed. Raises RunError."""
        for job in filter(design.finished, self.plan):
            recorded = lineage.AlphaSchedule.recorded(Run(job.directory))
            recorded.save(self.directory / f"alpha_{job.config.method}_{job.config.level}_seed{job.config.seed}.json")
            print(recorded.source, recorded.knots[:4], "…" if len(recorded.knots) > 4 else "")
        check(self.outcome)

    def actions(self, methods: Sequence[str]) -> None:
        """Shows the actions taken through time by the first run of each of `methods` on each level."""
        for level, runs in self.everywhere.runs.items():
            for method in methods:
                for each in runs.get(method, [])[:1]:
                    display(self._shown(run_plots.action_heat_map(each), f"actions_{method}_{level}", width=620))

    def collision_entropy(self) -> None:
        """Shows the collision entropy of every run, a picture a level."""
        for level, runs in self.everywhere.runs.items():
            drawing = run_plots.collision_entropies(runs, title=level)
            display(self._shown(drawing, f"collision_entropy_{level}"))

    # --- For these ---

    def _scores(self) -> Path:
        """Where reference scores are read, and kept if they must be measured: with what is drawn."""
        for path in (self.results / "baselines").glob("*.json"):
            if not (copy := self.output / "baselines" / path.name).exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
        return self.output

    def _scales(self, names: Iterable[str], found: conditions.Condition) -> dict[str, baselines.Scale]:
        """What is 0 and what is 1 on each level."""
        best, scores = curves.best_ends(found.runs), self._scores()
        return {name: baselines.scale(scores, name, self.backend, found.settings, best.get(name)) for name in names}

    def _shown(
        self, drawing: Drawing, name: str, formats: Sequence[str] = ("png", "svg"), width: int | None = NARROW
    ) -> Image:
        return picture(drawing, self.directory, name, formats, width)
