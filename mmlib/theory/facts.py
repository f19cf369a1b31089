"""Measurements that need no training run, made once at a size and kept as `<results>/theory/<preset>/<name>.json`.

What is on disk with the same settings is loaded; the notebook draws from it and the claims read it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmlib import levels
from mmlib.alternatives.methods import METHODS
from mmlib.errors import ResultsError
from mmlib.experiments.design import ExperimentError, choose
from mmlib.levels import Level
from mmlib.method.agent import MixMatchAgent
from mmlib.method.methods import AgentSpec
from mmlib.runs.owner import check_writable
from mmlib.runs.records import replace_file
from mmlib.runs.untrusted import read_object
from mmlib.theory import gradients, worlds
from mmlib.theory.worlds import Distillation
from mmlib.training.fitting import level_of
from mmlib.training.trained import Trained
from mmlib.training.trained import load as load_trained

LEVEL = "explore_object_locations_small_mini"
FRAME: dict[str, Any] = {"width": 48, "height": 36}
CONV1 = (4, 2)


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    seeds: int  # of remark 1's worlds and networks
    states: int
    updates: int
    coverage: tuple[int, ...]  # numbers of trajectories N
    pairs: int  # random pairs of policies at each alpha
    problems: int  # enumerated problems
    alphas: tuple[float, ...]  # for the enumerated problems
    environments: int  # of the agent's network, one trajectory of each in an unroll
    unrolls: int
    unroll: int  # agent steps of a trajectory
    network_alphas: tuple[float, ...]


SIZES = {
    "smoke": Size(2, 6, 40, (1, 16), 50, 2, (0.2, 0.5, 0.8), 4, 1, 10, (0.5,)),
    "quick": Size(
        *(5, 24, 600, (1, 4, 16, 64, 256), 2000, 20),
        *(tuple(i / 10 for i in range(1, 10)), 32, 2, 100, (0.1, 0.5, 0.9)),
    ),
}

REMARK = {
    "linear": Distillation(learning_rate=0.3),
    "deep": Distillation(hidden=(64, 64)),
    "deep, online": Distillation(hidden=(64, 64), trajectories=16, online=True),
    "deep, factorised": Distillation(kind="factorised", hidden=(64, 64)),
}
"""Remark 1 as stated (a predefined mix), as the algorithm has it (online), and with the paper's factorised pi_2."""

PULL = {
    "softmax": Distillation(hidden=(64, 64), both=True, teacher_gain=0.1, learning_rate=0.005),
    "factorised": Distillation("factorised", hidden=(64, 64), both=True, teacher_gain=0.1, learning_rate=0.005),
}
"""The transfer cost alone, into both policies, from an almost uniform pi_1 (appendices C and H)."""


def remark_1(size: Size) -> dict[str, Any]:
    """KL(pi_1 || pi_2) while pi_2 is distilled on samples of pi_mm; by the number of trajectories; and H(pi_1)."""
    each = {"seeds": size.seeds, "states": size.states, "updates": size.updates}
    curves = {name: _curves(worlds.distil(setup, **each)) for name, setup in REMARK.items()}
    pull = {name: _curves(worlds.distil(setup, **each)) for name, setup in PULL.items()}
    covered = [worlds.distil(Distillation(hidden=(64, 64), trajectories=n), **each) for n in size.coverage]
    coverage = {
        "trajectories": list(size.coverage),
        **{part: [_plain(getattr(c, part)[-1]) for c in covered] for part in ("kl", "kl_seen", "seen")},
    }
    return {"curves": curves, "pull": pull, "coverage": coverage}


def _curves(curves: worlds.Curves) -> dict[str, Any]:
    parts = ("kl", "kl_seen", "floor", "entropy")
    return {"updates": curves.updates, **{part: _plain(getattr(curves, part)) for part in parts}}


def appendix_g(size: Size) -> dict[str, Any]:
    """Both costs and their gap over alpha for random pairs of policies, with what is violated how often."""
    alphas = [i / 20 for i in range(21)]
    generator = torch.Generator().manual_seed(0)
    families: dict[str, Any] = {}
    for name, make in worlds.FAMILIES.items():
        pair = make(size.pairs, generator)
        rows = [worlds.bound(*pair, alpha) for alpha in alphas]
        gap = torch.stack([row.proposed - row.alternative for row in rows])  # (alphas, pairs)
        scaled = gap / rows[0].proposed  # of the cost at alpha = 0, KL(pi_1 || pi_2)
        quantiles = torch.quantile(scaled, torch.tensor([0.05, 0.5, 0.95], dtype=gap.dtype), dim=1)
        identity = max(float((g - row.gap).abs().max()) for g, row in zip(gap, rows, strict=True))
        printed = torch.stack([row.printed for row in rows])
        families[name] = {
            "gap": _plain(gap.mean(1)),
            "share": dict(zip(("low", "median", "high"), map(_plain, quantiles), strict=True)),
            "kl": float(rows[0].proposed.mean()),
            "cases": gap.numel(),
            "violations": int((gap < -1e-9).sum()),
            "smallest_gap": float(gap.min()),
            "largest_error_of_the_identity": identity,
            "printed_line_false": int((printed < -1e-9).sum()),
        }
    return {"alphas": alphas, "families": families}


def mixing_enumerated(size: Size) -> dict[str, Any]:
    """Variance of sampled over explicit mixing, and the difference of the means, exactly, for random problems."""
    ratios, differences = [], []
    for alpha in size.alphas:
        exact = [gradients.enumerate_mixing(gradients.random_problem(seed), alpha) for seed in range(size.problems)]
        ratios.append([e.variance_sampled / e.variance_explicit for e in exact])
        differences += [float((e.mean_sampled - e.mean_explicit).abs().max()) for e in exact]
    return {"alphas": list(size.alphas), "ratios": ratios, "largest_difference_of_means": max(differences)}


def mixing_network(
    size: Size,
    agent: MixMatchAgent,
    name: str,
    make: Callable[..., Level],
    label: str,
    discount: float = 0.99,
    reward_clip: float = 1.0,
) -> dict[str, Any]:
    """The same for the gradients of an agent's network on a level, a row an alpha, with a bootstrap interval.

    make: that level, of so many environments, from a seed, with settings of `levels.make`.
    """
    rows = []
    for alpha in size.network_alphas:
        level = make(num_envs=size.environments, seed=1, staggered=True)
        acted: dict[str, Any] = {"unrolls": size.unrolls, "unroll": size.unroll}
        batches = gradients.collect(agent, level, alpha, **acted, seed=1, reward_clip=reward_clip)
        measured = gradients.compare_mixing(agent, batches, discount)
        low, high = measured.interval()
        row = {"alpha": alpha, "ratio": measured.ratio, "low": low, "high": high}
        rows.append({**row, "difference_of_means": measured.bias, "trajectories": len(measured.squares)})
    return {"label": label, "level": name, "rows": rows}


def untrained(method: str) -> MixMatchAgent:
    """A fresh agent of the table for 48x36 frames."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MixMatchAgent(METHODS[method], height=FRAME["height"], width=FRAME["width"], conv1=CONV1)


def _of_method(size: Size, method: str) -> dict[str, Any]:
    return mixing_network(size, untrained(method), LEVEL, partial(levels.make, LEVEL, **FRAME), f"{method}, untrained")


def _of_run(size: Size, population: Trained) -> dict[str, Any]:
    config = population.config
    label = f"{config.method}, after {population.agent_steps / 1e6:g} M agent steps"
    make, settings = partial(level_of, config, 0), {"discount": config.discount, "reward_clip": config.reward_clip}
    return mixing_network(size, population.alone(0), config.levels[0], make, label, **settings)


def _check_mixture(method: str, spec: AgentSpec) -> None:
    """Raises ExperimentError unless a method's agent acts by the explicit mixture of two policies, at an alpha that is
    given: another has no two estimators to compare at a constant alpha."""
    if (len(spec.active()), spec.mixing, spec.learner) != (2, "explicit", "vtrace") or spec.alpha == "gradient":
        raise ExperimentError(f"method {method!r} does not mix two policies explicitly at an alpha that is given")


def all_facts(
    results: str | Path, preset: str, methods: Sequence[str] = ("mm",), runs: Sequence[str] = ()
) -> dict[str, Any]:
    """Every measurement of the theory notebook, by file name: loaded where it is on disk, made where it is not.

    Args:
      results: the root of the results.
      preset: a key of `SIZES`.
      methods: agents of the table that mix two policies explicitly; untrained, on the miniature explore level.
      runs: directories of runs with a checkpoint, measured beside them on their own levels.

    Raises:
      ExperimentError: an unknown preset or method, or an agent that does not mix so.
      ResultsError: a run without a checkpoint, or results that cannot be written.
    """
    size = choose("preset", preset, SIZES)
    trained = [load_trained(Path(run)) for run in runs]
    for method in methods:
        _check_mixture(method, choose("method", method, METHODS))
    for each in trained:  # a run may tie its policies otherwise than the table's agent
        _check_mixture(each.config.method, each.agent.spec)
    folder = Path(results) / "theory" / preset
    settings = json.loads(json.dumps(asdict(size)))
    makers: dict[str, Callable[[], Any]] = {
        part.__name__: partial(part, size) for part in (remark_1, appendix_g, mixing_enumerated)
    }
    makers |= {f"network_{method}": partial(_of_method, size, method) for method in methods}
    for each in trained:
        name = f"network_{each.config.method}_seed{each.config.seed}_{each.checksum[:8]}"
        makers[name] = partial(_of_run, size, each)
    facts = {name: _load_or_make(folder / f"{name}.json", settings, make) for name, make in makers.items()}
    for path in sorted(folder.glob("network_*.json")):  # measured before, of runs that need not be here
        recorded = read(path)
        if path.stem not in facts and recorded["settings"] == settings:
            facts[path.stem] = recorded["facts"]
    return facts


def _load_or_make(path: Path, settings: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    if path.exists() and (recorded := read(path))["settings"] == settings:
        return recorded["facts"]
    check_writable(path.parent)
    facts = make()
    record = {"made_by": f"mmlib.theory.facts, preset {path.parent.name}", "settings": settings, "facts": facts}
    replace_file(path, json.dumps(record, indent=1) + "\n")
    return facts


def read(path: Path) -> dict[str, Any]:
    """A file of facts: {"settings", "facts"}, and how they were made. Raises ResultsError if it is something else."""
    try:
        recorded = read_object(path)
        return {"settings": {}, **recorded, "facts": recorded["facts"]}
    except (OSError, ValueError, KeyError) as error:
        raise ResultsError(f"{path} holds no facts ({error}); delete it to measure them again") from error


def _plain(values: torch.Tensor) -> Any:
    """Numbers of six digits, nested as the tensor is."""
    array = np.asarray(values.tolist())
    return np.vectorize(lambda x: float(f"{x:.6g}"))(array).tolist()
