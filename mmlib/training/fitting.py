"""A configuration against what there is: methods, levels and their action spaces, this machine's
devices.

On a level whose actions are not DeepMind Lab's a method is the same agent in the level's own action
spaces.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import torch

from mmlib import levels
from mmlib.alternatives.methods import METHODS, Teacher, teacher_of
from mmlib.config import TIES, ConfigError, RunConfig
from mmlib.errors import suggestion
from mmlib.levels.base import Interface, Level
from mmlib.method.losses import MIXTURE_COST, PAIR_COSTS
from mmlib.method.methods import ALPHAS, MIXINGS, AgentSpec, Constituent
from mmlib.spaces import ENUMERABLE, SMALL, ActionSpace, embedding

APART = {"seed", "teacher"}  # settings in which runs side by side may differ
# Settings of one alone.
OF_LEARNERS = {"vtrace": ("entropy_cost", "value_targets"), "q": ("q",)}
OF_OPTIMISERS = {"rmsprop": ("rms_decay", "rms_epsilon"), "adam": ("adam_betas", "adam_epsilon")}


def check(config: RunConfig) -> RunConfig:
    """The configuration, if it can be run here. Raises ConfigError that names the choices."""
    try:
        check_entry(config.method)
        _check_levels(config)
        _check_ties(config)
        _check_bandit(config)
        _check_enumerable(config)
        _check_teacher(config)
        _check_device(config.device)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return config


def backend_in_force(config: RunConfig) -> str:
    """The backend of all its levels, "auto" resolved for this machine. Raises ValueError."""
    return levels.resolve_backend(config.backend, *config.levels)


def level_of(config: RunConfig, task: int, num_envs: int, seed: int | list[int], **settings: Any) -> Level:
    """Environments of the run's level of that number, as the run has it; `settings` of `levels.make`, where the run has
    no own. Raises ConfigError for what the level refuses."""
    size = (config.action_repeat, config.width, config.height)
    settings |= config.level_settings
    try:
        return levels.make(config.levels[task], backend_in_force(config), num_envs, seed, *size, **settings)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def interface(config: RunConfig, task: int = 0) -> Interface:
    """What an agent must know of the run's level of that number. Raises ValueError."""
    settings = config.level_settings
    return levels.interface(config.levels[task], backend_in_force(config), config.width, config.height, **settings)


def as_recorded(config: RunConfig) -> dict[str, Any]:
    """The configuration as a run made here would record it."""
    noted = {"backend_in_force": backend_in_force(config), "agent": definition(METHODS[config.method])}
    return config.model_dump(mode="json") | noted


def definition(spec: AgentSpec) -> str:
    """What an entry of `METHODS` makes its agent, in a line: all but its names for people."""
    return "; ".join(text if what == "policy" else f"{what} {text}" for what, text in described(spec))


def described(spec: AgentSpec) -> list[tuple[str, str]]:
    """The parts of an agent's `definition`, and what each is."""

    def space(each: ActionSpace) -> str:
        return f"{each.name}[{each.num_actions}] {zlib.crc32(each.vectors.tobytes()):08x}"

    policies = (
        f"{space(c.space)}: torso {c.torso}, cores {'+'.join(c.cores)}, head {c.head}, baseline {c.baseline}"
        + (f", level {c.task}" if c.task is not None else "")
        + (f", taught by {c.method}" if isinstance(c, Teacher) else "")
        for c in spec.constituents
    )
    heads = (f"{name} of {space(each)}" for name, each in spec.heads.items())
    ties = "transfer", "transfer_weight", "stop_gradient", "mixing", "alpha", "learner"
    named = [("policy", each) for each in policies] + [("head", each) for each in heads]
    return [*named, *((name, str(getattr(spec, name))) for name in ties)]


def specification(config: RunConfig) -> AgentSpec:
    """The agent of a run, tied as the run says, in the action spaces of its level."""
    spec = fit(config.method, interface(config).spaces)
    if config.transfer_cost is not None:
        spec = replace(spec, transfer_weight=config.transfer_cost)
    return replace(spec, **config.ties)


def fit(method: str, spaces: Mapping[str, ActionSpace] | None) -> AgentSpec:
    """The agent of `METHODS` of that name, in the action spaces of a level
    (`levels.Interface.spaces`).

    A level's "small" stands for `SMALL`, and its "big", all that it knows, for every other space.
    Without `spaces` the agent is as the table has it.

    Raises:
      ValueError: the agent needs a small space and the level declares none.
    """
    spec = METHODS[method]
    if spaces is None:
        return spec
    if "small" not in spaces and _needs_small(spec):
        others = ", ".join(name for name, each in METHODS.items() if not _needs_small(each))
        raise ValueError(
            f"method {method!r} needs a small action space, which this level does not declare; without: {others}"
        )

    def here(space: ActionSpace) -> ActionSpace:
        return spaces["small" if space == SMALL else "big"]

    constituents = tuple(replace(c, space=here(c.space)) for c in spec.constituents)
    heads = {name: here(space) for name, space in spec.heads.items()}
    return replace(spec, constituents=constituents, heads=heads)


def idle(method: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings that play no part in what a method learns, with these settings of a run, and why."""
    spec, name = METHODS[method], f"method {method!r}"
    own = OF_LEARNERS.get(spec.learner, ())
    others = [each for each in chain(*OF_LEARNERS.values()) if each not in own]
    found = dict.fromkeys(others, f"{name} learns by {spec.learner}")
    if chosen := settings.get("optimiser"):
        unused = [names for optimiser, names in OF_OPTIMISERS.items() if optimiser != chosen]
        found |= dict.fromkeys(chain(*unused), f"the optimiser is {chosen}")
    if spec.single:
        found |= dict.fromkeys(("value_targets", *TIES), f"{name} has one policy")
    if not spec.mixes:
        found["alpha"] = f"{name} has {'one policy' if spec.single else 'its own'}"
    if spec.alpha != "bandit":
        its = ", ".join(other for other, entry in METHODS.items() if entry.alpha == "bandit")
        found["bandit"] = f"{name} has none; methods with one: {its}"
    if spec.single or (settings.get("transfer") or spec.transfer) == "none":
        of_cost = ("transfer_cost", "transfer_normalisation", "stop_gradient")
        found |= dict.fromkeys(of_cost, f"{name} has no transfer cost")
    return found


def check_together(configs: Sequence[RunConfig]) -> None:
    """Raises ConfigError unless runs of these configurations can be trained side by side (`training.stack`)."""
    first = configs[0]
    if first.population > 1:
        raise ConfigError(
            f"population = {first.population}: seeds side by side are runs of population 1 each; train a population's "
            "seeds one by one, or divide it with --shards"
        )
    if (backend := backend_in_force(first)) != "minilab":
        raise ConfigError(f"backend {backend} does not train seeds side by side; minilab does: train them one by one")
    if first.lag and METHODS[first.method].alpha == "bandit":
        raise ConfigError(
            f"lag = {first.lag}: the pipeline of method {first.method!r} drains when a round of its bandit ends, which "
            "seeds side by side do at different times; train them one by one, or with lag 0"
        )
    seeds = [config.seed for config in configs]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds {', '.join(map(str, seeds))}: each may be there once")
    for config in configs[1:]:
        odd = [n for n in RunConfig.model_fields if n not in APART and getattr(config, n) != getattr(first, n)]
        if odd:
            said = ", ".join(f"{name} ({getattr(first, name)!r} and {getattr(config, name)!r})" for name in odd)
            raise ConfigError(f"runs side by side differ in their seed alone, not in {said}")


def _check_levels(config: RunConfig) -> None:
    backend = backend_in_force(config)
    if "staggered" in config.level_settings:
        raise ValueError("level_settings: staggered is a setting of the run itself (-p staggered=true)")
    for task, name in enumerate(config.levels):
        fit(config.method, interface(config, task).spaces)
        if backend == "minilab":
            levels.check_settings(name, config.level_settings)
    if config.backend == "gymnasium" and len(config.levels) > 1:
        raise ValueError(f"backend gymnasium takes one level a run, not {len(config.levels)}")
    tasks = METHODS[config.method].tasks
    if tasks not in (0, len(config.levels)):
        raise ValueError(f"method {config.method!r} needs {tasks} levels joined by '+', not {len(config.levels)}")


def check_entry(name: str) -> None:
    """Raises ConfigError unless `METHODS` has an entry of that name which is an agent: its modules, actions that the
    target has, a learner, an alpha."""
    if name not in METHODS:
        raise ConfigError(f"unknown method {name!r}; methods: {', '.join(METHODS)}{suggestion(name, METHODS)}")
    spec = METHODS[name]
    parts: Any = spec.constituents
    if not isinstance(parts, tuple) or not parts or not all(isinstance(c, Constituent) for c in parts):
        raise ConfigError(f"method {name!r}: constituents are a tuple of one or more Constituent, not {parts!r}")
    for c in spec.constituents:
        if c.head not in spec.heads:
            raise ConfigError(f"method {name!r} has no head {c.head!r}; its heads: {', '.join(spec.heads)}")
        _check_cores(name, c.cores)
        _check_nested(name, c.space, spec.heads[c.head], spec.space)
    if spec.learner not in OF_LEARNERS:
        raise ConfigError(f"method {name!r}: unknown learner {spec.learner!r}; learners: {', '.join(OF_LEARNERS)}")
    if spec.alpha == "gradient" and spec.learner != "vtrace":
        raise ConfigError(f"method {name!r}: alpha is learned by vtrace's policy gradient, not by {spec.learner!r}")
    if isinstance(spec.alpha, str):
        if spec.alpha not in ALPHAS:
            raise ConfigError(f"method {name!r}: unknown alpha {spec.alpha!r}; choices: {', '.join(ALPHAS)}, or knots")
        return
    times = [time for time, _ in spec.alpha]
    if not times or times != sorted(times) or not all(0 <= part <= 1 for knot in spec.alpha for part in knot):
        raise ConfigError(f"method {name!r}: alpha {spec.alpha} is not (share of the run, alpha) knots in order")


def _check_cores(name: str, cores: Any) -> None:
    kinds = [str(core).split("/")[0] for core in cores] if isinstance(cores, tuple) else [repr(cores)]
    if not {"lstm", "feed_forward"}.issuperset(kinds):
        from mmlib.method.networks import CORES  # late: its kernels take a while to import

        if unknown := [kind for kind in kinds if kind not in CORES]:
            raise ConfigError(f"method {name!r}: cores are a tuple of {', '.join(CORES)}, not {', '.join(unknown)}")


def _check_nested(name: str, *spaces: ActionSpace) -> None:
    """Whether each space of a method has the one before it in it."""
    for smaller, larger in pairwise(spaces):
        if smaller != larger:
            try:
                embedding(smaller, larger)
            except ValueError as error:
                raise ConfigError(f"method {name!r}: constituents go from few actions to many: {error}") from None


def _check_ties(config: RunConfig) -> None:
    ties, entry = config.ties, METHODS[config.method]
    if ties and entry.single:
        raise ValueError(f"method {config.method!r} has one policy, which nothing ties: leave {', '.join(ties)}")
    spec = replace(entry, **ties)
    for name, known in (("transfer", (*PAIR_COSTS, MIXTURE_COST, "none")), ("mixing", tuple(MIXINGS))):
        if getattr(spec, name) not in known:
            raise ValueError(f"unknown {name} {getattr(spec, name)!r}; choices: {', '.join(known)}")
    if spec.transfer in PAIR_COSTS:  # each pair's divergence is over the actions of the first
        _check_nested(config.method, *(c.space for c in spec.active()))
    if spec.alpha == "gradient" and spec.mixing != "explicit":
        raise ValueError(
            f"method {config.method!r} learns alpha through log pi_mm: mixing must be explicit, not {spec.mixing!r}"
        )


def _check_bandit(config: RunConfig) -> None:
    if METHODS[config.method].alpha == "bandit" and config.pbt is not None:
        raise ValueError(f"method {config.method!r} moves alpha by a bandit, which goes without PBT: pbt must be null")


def _check_enumerable(config: RunConfig) -> None:
    """Whether nothing goes through joint actions that are too many."""
    spec = specification(config)
    whole = [c for c in spec.active() if c.space == spec.space]
    if spec.space.num_actions > ENUMERABLE and (len(whole) > 1 or spec.transfer == MIXTURE_COST):
        raise ValueError(
            f"method {config.method!r} has {spec.space.num_actions:,} joint actions, too many to go through: one "
            f"policy at most may have them all, and transfer may be {', '.join(PAIR_COSTS)} or none"
        )


def _check_teacher(config: RunConfig) -> None:
    teacher = teacher_of(METHODS[config.method])
    if teacher is None and config.teacher is not None:
        taught = ", ".join(name for name, spec in METHODS.items() if teacher_of(spec))
        raise ValueError(f"teacher = {config.teacher!r}: method {config.method!r} has none; methods with one: {taught}")
    if teacher is not None and config.teacher is None:
        wanted = f"the directory of a finished run of {teacher.method!r}"
        raise ValueError(f"method {config.method!r} needs the setting teacher, {wanted}")


def _check_device(device: str) -> None:
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (":" in device and not (kind == "cuda" and number.isdecimal())):
        raise ValueError(f"unknown device {device!r}; devices: cpu, cuda, cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r}: this machine has no CUDA device; use --device cpu")
    if number and int(number) >= (count := torch.cuda.device_count()):
        raise ValueError(f"device {device!r}: this machine has {count}, cuda:0 to cuda:{count - 1}")


def _needs_small(spec: AgentSpec) -> bool:
    return any(c.space == SMALL for c in spec.constituents)
