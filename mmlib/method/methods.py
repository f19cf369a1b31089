"""The methods of the paper as data: which constituents an agent has, what they share, and how they
are tied (figure 2).

An agent is a list of constituents from easy to hard to train. Each names a torso, its cores, a
policy head and a baseline head; two constituents that name the same module share it. The part of a
core's name before "/" is its kind (`networks.CORES`); the activations of several cores are added
(FF+LSTM of section 4.2). A constituent whose action space is smaller than its head's is the head's
policy masked to that space and renormalised (shared head). A constituent with a `task` exists only
on that level of a multitask run; the others are on every level (figure 2c).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mmlib.spaces import BIG_540, BIG_756, SMALL, ActionSpace

MIXINGS = {
    "explicit": "pi_mm acts, and the RL loss is on its log-probability (section 3.1; the paper's)",
    "sampled": "c ~ Cat(alpha) at each step; pi_c acts, and the RL loss is on pi_c (section 3.1)",
    "none": "the target acts alone; alpha weighs the transfer cost only (control)",
}
ALPHAS = {
    "run": "the run's: its knots, or what population based training makes of it (appendix B)",
    "simplex": "the run's, or weights that PBT moves in its place (`alternatives.simplex`)",
    "gradient": "a parameter of the agent, with the policy gradient of pi_mm alone",
    "bandit": "moved in steps, by the slope of the return (`alternatives.bandit`)",
}
Schedule = tuple[tuple[float, float], ...]  # knots of (share of the run, alpha), see `schedule`


@dataclass(frozen=True)
class Constituent:
    """One policy pi_i: the modules that it names, and the actions that it may take."""

    space: ActionSpace
    head: str
    baseline: str
    cores: tuple[str, ...] = ("lstm",)
    torso: str = "torso"
    task: int | None = None  # the only level, by its place in the run's list, on which it mixes


@dataclass(frozen=True)
class AgentSpec:
    """An agent: constituents from simple to target, each head's space, and how they are tied."""

    label: str
    constituents: tuple[Constituent, ...]
    heads: Mapping[str, ActionSpace]
    transfer: str = "none"  # a name of losses.PAIR_COSTS, mixture_kl or none
    transfer_weight: float = 1.0  # lambda: 1 for action spaces, 100 for the rest (appendix C)
    stop_gradient: bool = False  # whether the transfer cost leaves the teacher alone
    mixing: str = "explicit"  # a name of MIXINGS
    alpha: Schedule | str = "run"  # where it comes from: a name of ALPHAS, or knots of its own
    learner: str = "vtrace"  # a name of training.shard.LEARNERS
    after: str = ""  # the work that it is taken from, where that is another than the paper

    @property
    def space(self) -> ActionSpace:
        """The target's action space, in which the mixture acts."""
        return self.constituents[-1].space

    @property
    def tasks(self) -> int:
        """How many levels it is made for; 0: any number, no constituent has one of its own."""
        return 1 + max((c.task for c in self.constituents if c.task is not None), default=-1)

    def active(self, task: int = 0) -> tuple[Constituent, ...]:
        """The constituents of the mixture on level `task`, from simple to target."""
        return tuple(c for c in self.constituents if c.task in (None, task))

    @property
    def single(self) -> bool:
        """Whether one policy acts, with nothing to mix or to tie."""
        return len(self.active()) == 1

    @property
    def mixes(self) -> bool:
        """Whether a run's alpha plays a part."""
        return not self.single and self.alpha in ("run", "simplex")

    @property
    def knots(self) -> Schedule:
        """Its own schedule of alpha; none if alpha comes from elsewhere."""
        return () if isinstance(self.alpha, str) else self.alpha


# Wiring (a), figure 3: everything is shared but the last linear layers to policy and value.
_SMALL = Constituent(SMALL, head="small", baseline="small")
_BIG = Constituent(BIG_756, head="big", baseline="big")
_SMALL_OF_BIG = Constituent(SMALL, head="big", baseline="big")
_MEDIUM = Constituent(BIG_540, head="medium", baseline="medium")
_BOTH = {"small": SMALL, "big": BIG_756}
_MM = AgentSpec("M&M", (_SMALL, _BIG), _BOTH, transfer="kl")

ACTION_METHODS = {
    "small": AgentSpec("Small action space", (_SMALL,), {"small": SMALL}),
    "big756": AgentSpec("Big action space", (_BIG,), {"big": BIG_756}),
    "mm": _MM,
    "mm_masked_kl": replace(_MM, label="M&M (Masked KL)", transfer="masked_kl"),
    # pi_1 has no weights of its own, nor has its value (stated choice).
    "mm_shared_head": AgentSpec(
        "M&M (Shared Head)", (_SMALL_OF_BIG, _BIG), {"big": BIG_756}, transfer="kl"
    ),
    # A chain of three spaces; a single alpha walks along it (`mixture.mixture_weights`).
    "mm_three": AgentSpec(
        "M&M (three spaces)", (_SMALL, _MEDIUM, _BIG), {**_BOTH, "medium": BIG_540}, transfer="kl"
    ),
}

# What M&M's gain comes from: each takes one part of it away, or changes one.
CONTROL_METHODS = {
    "mm_stop_gradient": replace(_MM, label="M&M, KL leaves π₁ alone", stop_gradient=True),
    "small_kl": replace(_MM, label="Small with the KL (α = 0)", alpha=((0.0, 0.0),)),
    "mm_no_kl": replace(_MM, label="mixing without KL", transfer="none"),
    "kl_no_mixing": replace(_MM, label="KL without mixing", mixing="none"),
    "mm_sampled": replace(_MM, label="M&M, sampled mixing", mixing="sampled"),
    # Appendices G and H.
    "mm_mixture_kl": replace(_MM, label="M&M (KL(π_mm‖π₂))", transfer="mixture_kl"),
    "mm_cross_entropy": replace(_MM, label="M&M (cross entropy)", transfer="cross_entropy"),
}

_SPACE_540 = {"policy": BIG_540}


def _core(*cores: str) -> Constituent:
    """Wiring (b), figure 6: torso, policy and value heads are shared; the cores differ."""
    return Constituent(BIG_540, head="policy", baseline="value", cores=cores)


def _cores(label: str, *constituents: Constituent) -> AgentSpec:
    transfer = "kl" if len(constituents) > 1 else "none"
    return AgentSpec(label, constituents, _SPACE_540, transfer=transfer, transfer_weight=100.0)


CORE_METHODS = {
    "ff": _cores("FF", _core("feed_forward")),
    "lstm": _cores("LSTM", _core("lstm")),
    "ff_lstm": _cores("FF+LSTM", _core("feed_forward", "lstm")),
    "mm_ff_lstm": _cores("M&M", _core("feed_forward"), _core("lstm")),
    "mm_lstm_lstm": _cores("LSTM&LSTM", _core("lstm/1"), _core("lstm/2")),
}

# Wiring (c), figure 9: the torso is shared; an LSTM agent for each level and a central one. The
# paper does not name the action space of this experiment: it is that of the core experiment here
# (stated choice).
NUM_TASKS = 3


def _agent(name: str, task: int | None = None) -> Constituent:
    return Constituent(BIG_540, head=name, baseline=name, cores=(f"lstm/{name}",), task=task)


_SPECIALISTS = tuple(_agent(f"task{i + 1}", task=i) for i in range(NUM_TASKS))
_CENTRAL = _agent("central")

MULTITASK_METHODS = {
    "multitask": AgentSpec("Multitask", (_CENTRAL,), {"central": BIG_540}),
    "mm_multitask": AgentSpec(
        "M&M",
        (*_SPECIALISTS, _CENTRAL),
        {c.head: BIG_540 for c in (*_SPECIALISTS, _CENTRAL)},
        transfer="kl",
        transfer_weight=100.0,
    ),
}

# `alternatives.methods.METHODS` is the table of all that there is.
PAPER_METHODS = ACTION_METHODS | CONTROL_METHODS | CORE_METHODS | MULTITASK_METHODS
