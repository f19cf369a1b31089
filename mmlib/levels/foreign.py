"""Any Gymnasium environment as a level: observation an image or a vector, actions as groups of values.

An action of such a level is a vector of G integers, each the index of a value of its group (`Declaration.groups`).
A frame is one step of the environment. Episodes end when the environment says so, terminated or truncated alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image

from mmlib.levels.base import (
    ActionBounds,
    Interface,
    LevelInfo,
    Step,
    Unsupported,
    check_actions,
    check_arguments,
    check_index,
)
from mmlib.levels.bookkeeping import CountedLevel
from mmlib.spaces import ActionSpace, one_part_each

MAX_ACTIONS = 4096  # joint actions of a level; the agent's policy enumerates them


@dataclass(frozen=True)
class Declaration:
    """How a Gymnasium environment is a level."""

    groups: Mapping[str, Sequence[Any]] | None = None  # values of each component of its action; None: as it declares
    small: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # the easy space: label -> a value for each group
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of gymnasium.make


DECLARED: dict[str, Declaration] = {}


def declare(
    name: str,
    *,
    groups: Mapping[str, Sequence[Any]] | None = None,
    small: Mapping[str, Sequence[Any]] | None = None,
    **arguments: Any,
) -> None:
    """Says how a Gymnasium environment is a level; one with Discrete or MultiDiscrete actions needs no word.

    Args:
      name: its id, which is the level's name; `module:id` as a level's name imports that module first, in which
        this function may be called.
      groups: name -> values, one group for each component of the environment's action, in order. Needed for a Box
        of actions, whose components then take these values only.
      small: label -> one value for each group: the few joint actions of the space that a curriculum starts with.
      **arguments: of `gymnasium.make`.
    """
    DECLARED[name.rpartition(":")[2]] = Declaration(groups, small or {}, arguments)


def declaration(name: str) -> Declaration:
    """What is declared of a level, whether or not its name has a module in front."""
    return DECLARED.get(name.rpartition(":")[2], Declaration())


def make_environment(name: str, **arguments: Any) -> gymnasium.Env:
    """`gymnasium.make` with the declared arguments and these. Raises ValueError for what it does not know."""
    declared = declaration(name)
    module, _, id = name.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        spec = gymnasium.spec(id)
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"unknown level {name!r} of gymnasium: {error}") from None
    arguments = {**declared.arguments, **arguments}
    try:
        return gymnasium.make(spec, disable_env_checker=True, **arguments)
    except TypeError as error:
        named = [a for a in arguments if f"'{a}'" in str(error)] or list(arguments)
        raise ValueError(f"{name} refuses the setting {', '.join(named)}: {error}") from None


def groups_of(name: str, space: spaces.Space) -> dict[str, tuple[Any, ...]]:
    """The groups of values of a level's actions. Raises ValueError if they must be declared, or do not fit."""
    declared = declaration(name).groups
    if isinstance(space, spaces.Discrete):
        own, components = {"action": tuple(int(space.start) + k for k in range(int(space.n)))}, 1
    elif isinstance(space, spaces.MultiDiscrete):
        starts, sizes = space.start.ravel().tolist(), space.nvec.ravel().tolist()
        own = {f"action {k}": tuple(range(a, a + n)) for k, (a, n) in enumerate(zip(starts, sizes))}
        components = len(sizes)
    elif isinstance(space, spaces.Box):
        own, components = {}, prod(space.shape)
    else:
        raise ValueError(f"{name} has actions {space}; a level needs Discrete, MultiDiscrete or Box")
    if declared is None and not own:
        raise ValueError(f"{name} has continuous actions {space}; declare the values of its {components} groups")
    groups = own if declared is None else {k: tuple(v) for k, v in declared.items()}
    if len(groups) != components:
        raise ValueError(f"{name} has actions of {components} components; {len(groups)} groups are declared")
    if prod(map(len, groups.values())) > MAX_ACTIONS:
        raise ValueError(f"{name} has more than {MAX_ACTIONS} joint actions; declare groups with fewer values")
    for combination in product(*groups.values()):
        if encode_action(space, combination) not in space:
            raise ValueError(f"action {combination} of {name} is not in {space}")
    return groups


def encode_action(space: spaces.Space, values: Sequence[Any]) -> Any:
    """One value a component as the environment takes them."""
    if isinstance(space, spaces.Discrete):
        return values[0]
    return np.array(values, space.dtype).reshape(space.shape)


def interface(name: str, width: int, height: int, **settings: Any) -> Interface:
    """What an agent must know of a Gymnasium environment; raises ValueError if it cannot be a level."""
    environment = make_environment(name, **settings)
    try:
        return describe(name, environment, width, height)
    finally:
        environment.close()


def describe(name: str, environment: gymnasium.Env, width: int, height: int) -> Interface:
    """The interface of an environment that has been made."""
    seen = environment.observation_space
    if not isinstance(seen, spaces.Box) or not (_is_image(seen) or len(seen.shape) == 1):
        raise ValueError(f"{name} has observations {seen}; a level needs an image [H, W, 1 or 3] of bytes or a vector")
    groups = groups_of(name, environment.action_space)
    spec = environment.spec
    limit = (spec.max_episode_steps if spec else None) or 0
    last = np.array([len(v) - 1 for v in groups.values()], np.int32)
    return Interface(
        LevelInfo(name, f"the Gymnasium environment {name}", limit, miniature=False),
        (3, height, width) if _is_image(seen) else seen.shape,
        ActionBounds(tuple(groups), np.zeros_like(last), last),
        _action_spaces(name, groups),
    )


def _action_spaces(name: str, groups: dict[str, tuple[Any, ...]]) -> dict[str, ActionSpace]:
    """The whole space as "big" and, if one is declared, the easy one as "small"."""
    labels = tuple(tuple(str(v) for v in values) for values in groups.values())
    vectors = one_part_each([range(len(values)) for values in groups.values()], len(groups))
    found = {"big": ActionSpace(f"big of {name}", tuple(groups), labels, vectors)}
    small = declaration(name).small
    if small:
        try:
            chosen = [[g.index(v) for g, v in zip(groups.values(), vs, strict=True)] for vs in small.values()]
        except ValueError:
            raise ValueError(f"the small space of {name} has actions that are not of its groups {groups}") from None
        found["small"] = ActionSpace(f"small of {name}", ("action",), (tuple(small),), np.array(chosen, np.int32))
    return found


class GymnasiumLevel(CountedLevel):
    """B copies of a Gymnasium environment behind the `Level` contract, one after another in this process.

    Environment i's episode e is `reset` with a seed made of (seed, i, e).

    Args:
      name: the environment's id.
      action_repeat: steps of the environment that an action is held for.
      width, height: images are resampled to this size, pixels; vectors stay what they are.
      **settings: of `gymnasium.make`, for instance `max_episode_steps`.
      Others: see `mmlib.levels.make`.

    Raises:
      ValueError: an environment that cannot be a level, or refuses a setting; an argument outside its range.
    """

    backend = "gymnasium"

    def __init__(
        self,
        name: str,
        num_envs: int = 1,
        seed: int = 0,
        action_repeat: int = 4,
        width: int = 96,
        height: int = 72,
        first_env: int = 0,
        *,
        staggered: bool = False,
        **settings: Any,
    ):
        check_arguments(num_envs, seed, action_repeat, width, height, first_env=first_env)
        first = make_environment(name, **settings)
        if "rgb_array" in first.metadata.get("render_modes", []) and "render_mode" not in settings:
            first.close()
            settings["render_mode"] = "rgb_array"
            first = make_environment(name, **settings)
        self._environments = [first] + [make_environment(name, **settings) for _ in range(num_envs - 1)]
        self._interface = describe(name, first, width, height)
        frames = self._interface.info.episode_frames
        super().__init__(name, num_envs, seed, action_repeat, width, height, first_env, staggered, frames)
        self._values = list(groups_of(name, first.action_space).values())
        shape = self._interface.observation_shape
        self._seen = np.zeros((num_envs, *shape), np.uint8 if len(shape) == 3 else np.float32)
        self.reset()

    def _begin(self, which: Iterable[int]) -> None:
        for i in which:
            self._see(i, self._environments[i].reset(seed=self.seed_of(i))[0])

    def _see(self, i: int, observation: Any) -> None:
        if self._seen.ndim == 2:
            self._seen[i] = observation
            return
        picture = observation if observation.ndim == 3 else observation[..., None]
        self._seen[i] = resample(picture, self.width, self.height).transpose(2, 0, 1)

    def step(self, actions: NDArray[np.int32]) -> Step:
        """See `Level.step`."""
        check_actions(actions, self.num_envs, self._interface.actions)
        step = self._nothing()
        for i in range(self.num_envs):
            step.reward[i], ended, cut = self._play(i, actions[i].tolist())
            if ended or cut:
                self._finish(step, i, cut=not ended)
                self._begin([i])
        return step

    def _play(self, i: int, indices: list[int]) -> tuple[float, bool, bool]:
        """Holds an action in environment i: the reward, whether the episode ended, and whether it is to be cut."""
        environment, total = self._environments[i], 0.0
        action = encode_action(environment.action_space, [v[k] for v, k in zip(self._values, indices)])
        for _ in range(self.action_repeat):
            observation, reward, terminated, truncated, _ = environment.step(action)
            total += float(reward)
            self._count(i, float(reward), 1)
            cut = self.frames_to_cut(i) == 0
            if terminated or truncated or cut:
                return total, bool(terminated or truncated), cut
        self._see(i, observation)
        return total, False, False

    def render(self, i: int, width: int, height: int) -> NDArray[np.uint8]:
        """What the environment renders, resampled to `[height, width, 3]`; Unsupported if it cannot."""
        check_index(i, self.num_envs)
        try:
            picture = self._environments[i].render()
        except (NotImplementedError, gymnasium.error.DependencyNotInstalled) as error:
            raise Unsupported(f"{self.name} cannot be rendered here: {error}") from None
        if not isinstance(picture, np.ndarray):
            raise Unsupported(f"{self.name} does not render to an array")
        return resample(picture, width, height)

    def close(self) -> None:
        """See `Level.close`."""
        for environment in self._environments:
            environment.close()


def _is_image(space: spaces.Box) -> bool:
    shape = space.shape
    return space.dtype == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3)))


def resample(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A picture `[h, w, 1 or 3]` as `[height, width, 3]`: each pixel the mean of those that it covers."""
    if picture.shape[2] == 1:
        picture = np.repeat(picture, 3, axis=2)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
