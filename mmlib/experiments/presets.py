"""Figures and presets as data: what each figure compares on which levels, and the scales at which it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmlib.method.methods import CONTROL_METHODS

MINIATURE = "_mini"  # ends the name of a level's miniature sibling


@dataclass(frozen=True)
class FigureSpec:
    """One comparison of the paper (or of ours): its notebook, its methods in the order of its legend, its levels."""

    name: str
    notebook: str
    directory: str  # of its runs and pictures, below the preset's
    methods: tuple[str, ...]
    main_methods: tuple[str, ...]  # without the ablations, for the presets of small machines
    levels: tuple[str, ...]  # the full ones; a multitask run's are joined by +
    settings: Mapping[str, Any] = field(default_factory=dict)  # of `RunConfig`, at every preset
    beside: tuple[str, ...] = ()  # alternatives that it has when it is asked for them

    @property
    def known(self) -> tuple[str, ...]:
        """All methods that it can be asked for."""
        return (*self.methods, *self.beside)

    def level_names(self, miniature: bool) -> tuple[str, ...]:
        """The figure's levels, or their miniature siblings."""
        ending = MINIATURE if miniature else ""
        return tuple("+".join(part + ending for part in name.split("+")) for name in self.levels)


@dataclass(frozen=True)
class Preset:
    """A scale at which figures are made: which of their levels, which seeds, and settings of `RunConfig`."""

    name: str
    description: str
    miniature: bool
    settings: Mapping[str, Any]
    # Knots of (share of the run, alpha) for the methods that mix: piecewise linear, by hand. PBT has no use for them.
    # It is 1 when Small alone has come to 90 % of where it ends: after 0.43 and 0.5 of a run on the two small mazes.
    alpha: tuple[tuple[float, float], ...] = ((0.1, 0.0), (0.5, 1.0))
    level: str = ""  # the one of a figure's levels that is made; without it, its first
    all_levels: bool = False  # or that one only
    ablations: bool = False
    seeds: tuple[int, ...] = (0,)
    by_figure: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # settings of single figures, over these

    def methods(self, figure: FigureSpec) -> tuple[str, ...]:
        """The methods of `figure` that this preset runs unless told otherwise."""
        return figure.methods if self.ablations else figure.main_methods

    def of_figure(self, figure: FigureSpec) -> dict[str, Any]:
        """The settings of `figure`'s runs over the preset's own."""
        return {**figure.settings, **self.by_figure.get(figure.name, {})}

    def levels(self, figure: FigureSpec) -> tuple[str, ...]:
        """The levels of `figure` that this preset runs unless told otherwise."""
        names = figure.level_names(self.miniature)
        return names if self.all_levels else (self.level,) if self.level in names else names[:1]


_EXPLORE, _HORSESHOE = "explore_object_locations_small", "lt_horseshoe_color"
_FOUR_LEVELS = (_EXPLORE, "nav_maze_static_01", "nav_maze_static_02", _HORSESHOE)
_ABLATED = tuple(name for name in CONTROL_METHODS if name not in ("mm_mixture_kl", "mm_cross_entropy"))

_ALTERNATIVES = ("small", "big756", "mm", "finetune", "small_teacher", "distil", "kickstart")
FIGURES = {
    figure.name: figure
    for figure in (
        FigureSpec(
            name="3",
            notebook="01_action_curricula.ipynb",
            directory="figure3",
            methods=("small", "big756", "mm", "mm_masked_kl", "mm_shared_head"),
            main_methods=("small", "big756", "mm"),
            levels=_FOUR_LEVELS,
        ),
        FigureSpec(
            name="6",
            notebook="02_core_curricula.ipynb",
            directory="figure6",
            methods=("ff", "lstm", "ff_lstm", "mm_ff_lstm", "mm_lstm_lstm"),
            main_methods=("ff", "lstm", "mm_ff_lstm"),
            levels=_FOUR_LEVELS,
            beside=(
                "mm_three_cores",
                "mm_three_cores_simplex",
                "net2net",
                "finetune_ff_lstm",
                "ff_teacher",
                "distil_ff_lstm",
                "kickstart_ff_lstm",
            ),
        ),
        FigureSpec(
            name="9",
            notebook="03_multitask.ipynb",
            directory="figure9",
            methods=("multitask", "mm_multitask"),
            main_methods=("multitask", "mm_multitask"),
            levels=(f"{_EXPLORE}+{_HORSESHOE}+lt_chasm",),
            settings={"evaluation_envs": 4},
            beside=("distral",),
        ),
        FigureSpec(
            name="controls",
            notebook="09_controls.ipynb",
            directory="controls",
            methods=("small", "big756", "mm", *CONTROL_METHODS),
            main_methods=("small", "mm", *_ABLATED),
            levels=_FOUR_LEVELS,
        ),
        FigureSpec(
            name="alternatives",
            notebook="12_alternatives.ipynb",
            directory="alternatives",
            methods=(*_ALTERNATIVES, "mm_three", "mm_learned_alpha"),
            main_methods=_ALTERNATIVES,
            levels=_FOUR_LEVELS,
            # What `--method` adds; a bandit goes without population based training, which some presets have.
            beside=("mm_three_simplex", "mm_bandit", "q_small", "q_big756", "q_mm", "whole", "mm_whole"),
        ),
    )
}

# Figures that are drawn together with another, or from the runs of others, by notebooks of their own.
DRAWN_WITH = {"4": "3", "7": "6"}
OTHER_NOTEBOOKS = {
    "5": ("04_alpha_trajectories.ipynb", "05_action_entropy.ipynb"),
    "8": ("04_alpha_trajectories.ipynb",),
    "10": ("11_levels.ipynb",),
    "method": ("00_mix_and_match.ipynb",),
    "inspect": ("06_inspect_mixture.ipynb",),
    "theory": ("07_theory.ipynb",),
    "claims": ("08_claims.ipynb",),
    "report": ("13_report.ipynb",),
}

_SMALL_FRAMES: dict[str, Any] = {"width": 48, "height": 36, "conv1": (4, 2)}
# Many small updates rather than few large ones: 160 samples each, see docs/learning.md.
# The miniatures' step is not the paper's: the study of docs/learning.md chose it, on plain agents alone.
_MINIATURES: dict[str, Any] = {
    **_SMALL_FRAMES,
    "num_envs": 32,
    "unroll": 20,
    "learner_batches": 4,
    "optimiser": "adam",
    "learning_rate": 3e-4,
    "max_grad_norm": 40.0,  # as the public IMPALA agent's; without it two of two runs of Mix & Match lost everything
    "entropy_cost": 2e-3,
    "staggered": True,
    "log_every": 20_000,
}
# Rewards of the full levels are rarer, and so are gradients smaller: a longer step, a cheaper entropy.
_FULL_LEVELS: dict[str, Any] = {
    "learning_rate": 4e-3,
    "entropy_cost": 5e-4,
    "num_envs": 64,
    "unroll": 20,
    "learner_batches": 8,
}
# A member of 1.5 M agent steps has 3,300 episodes where the paper's has 185,000. With few of them in flight, a small
# window and a perturbation at every other decision it gets about as many perturbations all the same (`clock.expected`,
# `mmlib presets`), each twice as long for alpha. In runs this short PBT would drive the learning rate down until
# nothing is learned, since a smaller step is better at once and worse later (Dalibard and Jaderberg 2021): it is fixed.
_SHORT_PBT: dict[str, Any] = {
    "adapt": ("entropy_cost", "alpha"),
    "ready": 10,
    "window": 8,
    "explore_probability": 0.5,
    "alpha_step": 0.1,
    "entropy_cost": (3e-4, 6e-3),
}
_SHORT_POPULATION: dict[str, Any] = {"population": 4, "pbt": _SHORT_PBT, "num_envs": 8, "learner_batches": 1}
# Figure 9 compares episodes of the target alone, each level's: as many environments for them as for training, and
# decisions so far apart that the window is full at most of them. The paper's members need more of them, too: with 4
# environments one decision in twenty would compare anything.
_SHORT_EVALUATED: dict[str, Any] = {"9": {"evaluation_envs": 8, "pbt": {**_SHORT_PBT, "ready": 32, "window": 4}}}
_LONG_EVALUATED: dict[str, Any] = {"9": {"evaluation_envs": 32}}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="smoke",
            description="seconds: shows that everything runs; nothing is learned (48x36 frames)",
            miniature=True,
            settings=_MINIATURES | {"agent_steps": 6_000, "num_envs": 4, "log_every": 600},
        ),
        Preset(
            name="quick",
            description="minutes on two cores: a miniature level, one seed, 48x36 frames",
            miniature=True,
            settings=_MINIATURES | {"agent_steps": 600_000},
            level="nav_maze_static_01_mini",
        ),
        Preset(
            name="protocol",
            description="hours on two cores: the runs of docs/protocol.md, twice as long as quick's, eight seeds",
            miniature=True,
            settings=_MINIATURES | {"agent_steps": 1_200_000},
            level="nav_maze_static_02_mini",
            ablations=True,
            seeds=tuple(range(11, 19)),
        ),
        Preset(
            name="population",
            description="half a day on two cores: population based training, two populations of four on a miniature, "
            "all methods, 48x36 frames; adapts alpha and entropy cost, the learning rate is fixed",
            miniature=True,
            settings=_MINIATURES
            | _SHORT_POPULATION
            | {"agent_steps": 1_500_000}
            | {"dtype": "bfloat16", "log_every": 25_000, "checkpoint_every": 100_000},
            level="nav_maze_static_02_mini",
            ablations=True,
            seeds=(1, 2),
            by_figure=_SHORT_EVALUATED,
        ),
        Preset(
            name="laptop",
            description="an hour or two on two cores: a full level for 20 M frames, one seed, 48x36 frames",
            miniature=False,
            settings=_SMALL_FRAMES
            | _FULL_LEVELS
            | {"agent_steps": 5_000_000, "log_every": 50_000, "checkpoint_every": 250_000},
        ),
        Preset(
            name="workstation",
            description="a day on 16 cores: full levels, 100 M frames, three seeds, all methods, 96x72 frames",
            miniature=False,
            settings=_FULL_LEVELS | {"agent_steps": 25_000_000, "lag": 1, "log_every": 250_000},
            all_levels=True,
            ablations=True,
            seeds=(1, 2, 3),
        ),
        Preset(
            name="paper",
            description="the paper's scale: population based training of three populations of 10, 1 G frames a member, "
            "all methods and levels, 96x72 frames",
            miniature=False,
            settings={"population": 10, "pbt": {}, "agent_steps": 250_000_000, "num_envs": 32, "unroll": 100}
            | {"lag": 1, "staggered": True, "log_every": 1_000_000, "checkpoint_every": 5_000_000},
            all_levels=True,
            ablations=True,
            seeds=(1, 2, 3),
            by_figure=_LONG_EVALUATED,
        ),
    )
}
