"""Alternatives to Mix & Match as data, and `METHODS`, the table of all that there is.

Each is an agent like the paper's, for the same learner: its constituents, how they are tied, and an alpha of its own.
With alpha 0 the easy policy acts and learns, with 1 the target; without mixing the target always acts, and 1 - alpha
weighs the transfer cost alone. `after` names the work that an entry is taken from; where the two differ is said here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from mmlib.errors import UserError
from mmlib.method.methods import PAPER_METHODS, AgentSpec, Constituent
from mmlib.spaces import WHOLE


@dataclass(frozen=True)
class Teacher(Constituent):
    """A policy that does not learn: its weights are those of the first constituent of a finished run, for good.

    It shares no module with another, so that no gradient reaches it. A run names the other by its setting `teacher`.
    """

    method: str = ""  # that its run is of, unless the setting says otherwise


def teacher_of(spec: AgentSpec) -> Teacher | None:
    """The constituent of an agent that a finished run has trained, if there is one."""
    return next((c for c in spec.constituents if isinstance(c, Teacher)), None)


# The target takes over at once, when M&M by hand has let go of the easy policy too (stated choice).
JUMP = ((0.5, 0.0), (0.5, 1.0))
# The weight of the transfer cost falls from its full value to nothing by then.
DECAY = ((0.0, 0.0), (0.5, 1.0))

_MM, _MM_FF_LSTM, _MULTITASK = (PAPER_METHODS[name] for name in ("mm", "mm_ff_lstm", "mm_multitask"))
_Q: dict[str, Any] = {"learner": "q", "after": "Kapturowski et al. 2019"}


def _taught(spec: AgentSpec, method: str, **others: Any) -> AgentSpec:
    """The agent with a finished run's easy policy, of that method, in place of its own."""
    easy, target = spec.constituents
    cores = tuple(f"{core}/teacher" for core in easy.cores)
    teacher = Teacher(easy.space, "teacher", "teacher", cores=cores, torso="teacher", method=method)
    heads = {"teacher": easy.space, target.head: target.space}
    return replace(spec, constituents=(teacher, target), heads=heads, stop_gradient=True, **others)


# Small, or FF, is trained; then Big, or the LSTM, goes on with all that they share, what is its own being new. The
# optimiser keeps what it remembers, for the new modules (and the new LSTM, Net2Net's too) that is gradients of zero:
# Adam's step for them grows to 6.5 times as long as from the start, and is twice as long after 300 updates.
_FINETUNE: dict[str, Any] = {"label": "Fine-tuning", "transfer": "none", "alpha": JUMP, "after": "Yosinski et al. 2014"}

# Rusu et al.: the teacher acts until the jump, and the student is trained on D_KL(teacher || student) on the states it
# meets, here without their temperature; after it the student acts and learns alone. Its value is new then: only the
# policy is distilled, as in their work. Lambda is 1 over cores too: nothing else has a gradient meanwhile.
_DISTIL: dict[str, Any] = {"label": "Distillation, then RL", "transfer_weight": 1.0, "alpha": JUMP}
_DISTIL |= {"after": "Rusu et al. 2016"}

# Schmitt et al.: the student acts from the first step on, with H(teacher, student) on the states that it meets. Lambda
# 32 is a weight of 1 a step where a member has 32 trajectories in an unroll, which eq. (1) divides by (stated choice).
# The weight falls by a schedule, where theirs is found by population based training.
_KICKSTART: dict[str, Any] = {"label": "Kickstarting", "transfer": "cross_entropy", "transfer_weight": 32.0}
_KICKSTART |= {"mixing": "none", "alpha": DECAY, "after": "Schmitt et al. 2018"}

_FF, _LSTM = _MM_FF_LSTM.constituents
_FF_AND_LSTM = replace(_FF, cores=(*_FF.cores, *_LSTM.cores))
_THREE = (_FF, _FF_AND_LSTM, _LSTM)
_THREE_CORES = replace(_MM_FF_LSTM, label="M&M (FF → FF+LSTM → LSTM)", constituents=_THREE)

# All that DeepMind Lab takes but crouching: 37.8 M joint actions, of which the paper uses 756. The 1,025 values of yaw
# and of pitch have no logit each: logits are linear between 19 knots, which lie as close together near 0, where turning
# is of use, as an axis of logarithms makes them (stated choice, see `numerics.spline`).
_SMALL, _BIG = _MM.constituents
_ALL = replace(_BIG, space=WHOLE)
_WHOLE: dict[str, Any] = {"heads": {"small": _SMALL.space, "big": WHOLE}, "after": "Kooperberg & Stone 1991"}

ALTERNATIVES = {
    # Alpha climbs the return by itself: d log pi_mm / d alpha times the advantage, with which the weights are trained.
    "mm_learned_alpha": replace(_MM, label="M&M, α by gradient", alpha="gradient"),
    # Alpha climbs by trial: a bandit adds to it, takes from it or leaves it, for the slope of the return (bandit.py).
    "mm_bandit": replace(_MM, label="M&M, α by a bandit", alpha="bandit", after="Auer et al. 2002"),
    "finetune": replace(_MM, **_FINETUNE),
    "distil": _taught(_MM, "small_teacher", **_DISTIL),
    "kickstart": _taught(_MM, "small_teacher", **_KICKSTART),
    # Small in an agent of Big's space, with Big's last actions as inputs: what a student with Big's can be taught by.
    "small_teacher": replace(_MM, label="Small, as a teacher", transfer="none", alpha=((0.0, 0.0),)),
    "finetune_ff_lstm": replace(_MM_FF_LSTM, **_FINETUNE),
    # Chen et al. copy a trained network into a larger one that computes the same. FF is trained, then an LSTM is added
    # to it that says nothing until it learns; Small's nine actions are no product of groups, so that no head of Big
    # computes Small's policy, and actions have no such entry.
    "net2net": replace(
        _MM_FF_LSTM,
        label="Net2Net (FF → FF+LSTM)",
        constituents=(_FF, replace(_FF, cores=(*_FF.cores, "silent_lstm"))),
        transfer="none",
        alpha=JUMP,
        after="Chen et al. 2016",
    ),
    "distil_ff_lstm": _taught(_MM_FF_LSTM, "ff_teacher", **_DISTIL),
    "kickstart_ff_lstm": _taught(_MM_FF_LSTM, "ff_teacher", **_KICKSTART),
    # FF under a name of its own: runs of figure 6 that are finished and packed have no checkpoint to teach from.
    "ff_teacher": replace(PAPER_METHODS["ff"], label="FF, as a teacher"),
    "whole": replace(_MM, label="Whole action space", constituents=(_ALL,), transfer="none", **_WHOLE),
    "mm_whole": replace(_MM, label="M&M (to the whole space)", constituents=(_SMALL, _ALL), **_WHOLE),
    # Its path need not pass through the middle: population based training moves weight between any two of the three.
    "mm_three_simplex": replace(PAPER_METHODS["mm_three"], label="M&M (three spaces, any path)", alpha="simplex"),
    # A chain of three cores, as `mm_three` is one of three action spaces.
    "mm_three_cores": _THREE_CORES,
    "mm_three_cores_simplex": replace(_THREE_CORES, label="M&M (three cores, any path)", alpha="simplex"),
    # Teh et al.: each specialist acts on its level, with the central policy as its prior. Their objective for level i,
    #     E[sum_t gamma^t (r_t - c_KL log pi_i(a_t|s_t) / pi_0(a_t|s_t) - c_Ent log pi_i(a_t|s_t))],
    # has c_KL KL(pi_i || pi_0) - c_Ent H(pi_i) at each state that pi_i meets; both are minimised here at each state,
    # with gradients into pi_i and pi_0, which is distilled so. What departs: neither is a part of the return, so that
    # no action is chosen for the costs of the states that it leads to (the objectives agree in episodes of one step);
    # pi_i adds nothing to pi_0's logits (their two columns), and shares its torso. c_KL = c_Ent, as in their KL+ent, at
    # preset quick: 0.192 is an entropy cost of 2e-3 times the 96 trajectories that eq. (1) divides by.
    "distral": replace(
        _MULTITASK, label="Distral", transfer_weight=0.192, alpha=((0.0, 0.0),), after="Teh et al. 2017"
    ),
    # The same agents with action values, see q_learning.py: the policies that are mixed and tied are Boltzmann's.
    "q_small": replace(PAPER_METHODS["small"], label="Small, Q-learning", **_Q),
    "q_big756": replace(PAPER_METHODS["big756"], label="Big, Q-learning", **_Q),
    "q_mm": replace(_MM, label="M&M, Q-learning", **_Q),
}

METHODS: dict[str, AgentSpec] = PAPER_METHODS | ALTERNATIVES


def own_methods() -> set[str]:
    """The names of agents that you have entered in `METHODS`: any figure takes them."""
    return METHODS.keys() - PAPER_METHODS.keys() - ALTERNATIVES.keys()


OWN = "MMLIB_IMPORT"  # in the environment: modules of yours, which every process of mmlib imports, comma-separated


def _import_own() -> None:
    """Has modules of yours make their entries in tables (docs/adding_a_curriculum.md). Raises UserError."""
    for name in filter(None, os.environ.get(OWN, "").split(",")):
        try:
            import_module(name)
        except ImportError as error:
            problem = f"{OWN} names {name!r}, which cannot be imported ({error}); is its folder in PYTHONPATH?"
            raise UserError(problem) from error


_import_own()
