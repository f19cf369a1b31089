"""The configuration of one run: a frozen pydantic model whose fields document themselves.

Units: an *agent step* is one decision of the policy; an *environment frame* is one of the `action_repeat` frames
that it lasts. Every count of steps here is per member of the population.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mmlib.errors import UserError, suggestion

SHARES = "its knots are [agent steps, alpha], not shares of the run"
LARGEST = 2**53  # of a whole number in a record, as in most readers of JSON

Knot = tuple[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=0.0, le=1.0)]]


class ConfigError(UserError):
    """A configuration that cannot be run; the message names the field, the value and what is allowed."""


Adaptable = Literal["learning_rate", "entropy_cost", "alpha"]
HYPER: tuple[Adaptable, ...] = get_args(Adaptable)  # what PBT can adapt
TIES = ("transfer", "stop_gradient", "mixing")  # settings that take the place of a field of `methods.AgentSpec`

Range = tuple[Annotated[float, Field(gt=0.0)], Annotated[float, Field(gt=0.0)]]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Decay = Annotated[float, Field(ge=0.0, lt=1.0)]


class PBTConfig(BaseModel):
    """Population based training; defaults are the paper's (appendix B)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    adapt: tuple[Adaptable, ...] = Field(
        HYPER, min_length=1, description="the hyperparameters; others keep the run's own value or schedule"
    )
    ready: int = Field(300, ge=1, description="fresh episodes of a member between two decisions")
    window: int = Field(30, ge=2, description="last fresh episode returns that are compared, of each level")
    p_value: float = Field(0.05, gt=0.0, lt=1.0, description="of the one-sided T-test, below which a member copies")
    explore_probability: float = Field(0.25, ge=0.0, le=1.0, description="of a change at a decision")
    factors: Range = Field((1.2, 0.8), description="one of which multiplies the learning rate, one the entropy cost")
    alpha_step: float = Field(0.05, ge=0.0, le=1.0, description="added to or taken from alpha, within [0, 1]")
    learning_rate: Range = Field((1e-5, 1e-3), description="start: log-uniform between the two")
    entropy_cost: Range = Field((1e-4, 1e-2), description="start: log-uniform between the two")
    alpha: tuple[Share, Share] = Field((1e-3, 1e-2), description="start: log-uniform between the two")

    @field_validator("learning_rate", "entropy_cost", "alpha")
    @classmethod
    def _ordered(cls, limits: Range) -> Range:
        if limits[0] > limits[1]:
            raise ValueError("the lower end comes first")
        return limits


class BanditConfig(BaseModel):
    """Alpha moved by a bandit (`alternatives.bandit`, which says what each is and why it has this value)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    window: int = Field(default=32, ge=2, description="fresh episode returns of each level that make a round")
    step: float = Field(default=0.1, gt=0.0, le=1.0, description="what an arm adds to alpha or takes from it")
    gamma: float = Field(default=0.57, gt=0.0, le=1.0, description="share of the draws in which all arms are alike")
    share: float = Field(default=0.024, gt=0.0, le=1.0, description="of all weights, given to the arms after a round")


class QConfig(BaseModel):
    """Q-learning (alternatives/q_learning.py)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tau: float = Field(default=0.004, gt=0.0, description="temperature of the policies, in (clipped) returns")
    n_steps: int = Field(default=5, ge=1, description="rewards of a target")
    target_every: int = Field(default=5, ge=1, description="unrolls from one target network to the next")
    replay: int = Field(default=32, ge=1, description="last unrolls of each environment; checkpoints have them too")
    passes: int = Field(default=1, ge=1, description="how often an agent step is learned from on average")


class RunConfig(BaseModel):
    """One run: a population of agents of one method on one level. Defaults are the paper's (appendix D)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    level: str = Field(description="a level, or the levels of a multitask run joined by +")
    method: str = Field(description="an agent of `mmlib methods`")
    backend: str = Field("auto", description="of the level: auto, dmlab, minilab or gymnasium")
    seed: int = Field(0, ge=0, le=LARGEST, description="of levels, first weights and draws")
    population: int = Field(1, ge=1, description="P, members trained side by side")
    agent_steps: int = Field(250_000_000, ge=1, le=2**40, description="agent steps of each member, on all its levels")

    num_envs: int = Field(32, ge=1, description="N, environments of each member on each level")
    evaluation_envs: int = Field(
        0,
        ge=0,
        description="environments of each member on each level in which the target plays alone",
    )
    unroll: int = Field(100, ge=1, description="T, agent steps of a trajectory")
    learner_batches: int = Field(1, ge=1, description="updates an unroll is split into, by environments")
    action_repeat: int = Field(4, ge=1, le=2**10, description="environment frames an action lasts")
    level_settings: dict[str, str | float | int | bool] = Field(
        {}, description="the backend's own, for instance bot_count; see levels.make"
    )
    staggered: bool = Field(False, description="cut each environment's first episode at a random frame")
    width: int = Field(96, ge=16, le=1024, description="of a frame, pixels")
    height: int = Field(72, ge=16, le=1024, description="of a frame, pixels")
    conv1: tuple[int, int] = Field((8, 4), description="kernel size and stride of the first convolution")
    lag: Literal[0, 1] = Field(0, description="0: act, then learn; 1: both at once, in two threads")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="of the convolutions and linear layers")
    device: str = Field("cpu", description="of the networks: cpu, cuda or cuda:N")

    optimiser: Literal["rmsprop", "adam"] = Field("rmsprop", description="rmsprop is the paper's (appendix D)")
    learning_rate: float = Field(6e-4, gt=0.0, description="of the optimiser, at the start")
    anneal: bool = Field(
        False,
        description="the learning rate falls linearly to 0 over the run's agent steps, which then cannot grow",
    )
    entropy_cost: float = Field(3e-3, ge=0.0, description="weight of the mixture's entropy, nats a step")
    alpha: tuple[Knot, ...] = Field(
        ((0, 0.0),),
        description="[agent steps, alpha] knots, piecewise linear, a number, or a run whose alpha is "
        "replayed; of a chain the place",
    )
    pbt: PBTConfig | None = Field(None, description="adapt hyperparameters by population based training")
    bandit: BanditConfig = Field(BanditConfig(), description="of the methods whose alpha is a bandit's")
    q: QConfig = Field(QConfig(), description="of methods that learn by Q-learning")
    transfer_cost: float | None = Field(
        None, ge=0.0, description="lambda of the loss (section 3), in place of the method's"
    )
    transfer_normalisation: Literal["trajectories", "steps"] = Field(
        "trajectories", description="what |S| of eq. (1) counts: trajectories of an unroll, or their agent steps"
    )
    transfer: str | None = Field(None, description="of losses.PAIR_COSTS, mixture_kl or none, in place of the method's")
    stop_gradient: bool | None = Field(None, description="transfer leaves the teacher alone, in place of the method's")
    mixing: str | None = Field(None, description="a name of methods.MIXINGS, in place of the method's")
    teacher: str | None = Field(
        None,
        min_length=1,
        description="directory of the finished run that the method's teacher is from, as seen from the run's own",
    )
    baseline_cost: float = Field(0.5, ge=0.0, description="weight of the values' loss")
    value_targets: Literal["mixture", "each"] = Field(
        "mixture", description="what V-trace's targets train: the mixture's value, or each constituent's"
    )
    discount: float = Field(0.99, ge=0.0, le=1.0, description="gamma, an agent step")
    reward_clip: float = Field(1.0, gt=0.0, description="learning rewards are clipped to [-c, c]; scores are not")
    rms_decay: float = Field(0.99, ge=0.0, lt=1.0, description="of RMSProp")
    rms_epsilon: float = Field(0.1, gt=0.0, description="of RMSProp")
    adam_betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="of Adam")
    adam_epsilon: float = Field(1e-5, gt=0.0, description="of Adam")
    max_grad_norm: float | None = Field(None, gt=0.0, description="clip each member's global gradient norm")

    log_every: int = Field(10_000, ge=1, description="agent steps between rows of metrics")
    checkpoint_every: int = Field(200_000, ge=1, description="agent steps between checkpoints")

    @field_validator("alpha")
    @classmethod
    def _knots_increase(cls, knots: tuple[Knot, ...]) -> tuple[Knot, ...]:
        times = [time for time, _ in knots]
        if not knots or any(b <= a for a, b in pairwise(times)):
            raise ValueError("needs at least one [agent steps, alpha] knot, agent steps strictly increasing")
        if len(knots) > 1 and times[-1] <= 1:
            raise ValueError(SHARES)
        return knots

    @model_validator(mode="after")
    def _fits(self) -> RunConfig:
        if self.pbt is not None and self.population < 2:
            raise ValueError(f"population {self.population} cannot be trained by PBT; it needs 2 members or more")
        if self.num_envs % self.learner_batches:
            raise ValueError(
                f"learner_batches {self.learner_batches} does not divide num_envs {self.num_envs}; "
                f"allowed: {', '.join(str(n) for n in range(1, self.num_envs + 1) if self.num_envs % n == 0)}"
            )
        kernel, stride = self.conv1
        if not 1 <= stride <= kernel <= min(self.width, self.height) // 4:
            raise ValueError(
                f"conv1 {self.conv1} does not fit {self.width}x{self.height} frames: 1 <= stride <= kernel <= "
                f"{min(self.width, self.height) // 4}, a quarter of the shorter side"
            )
        return self

    @property
    def ties(self) -> dict[str, Any]:
        """What ties the policies, in place of the method's: fields of `methods.AgentSpec`."""
        return {name: value for name in TIES if (value := getattr(self, name)) is not None}

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the levels; more than one in a multitask run."""
        return tuple(self.level.split("+"))

    @property
    def frames(self) -> int:
        """Environment frames of each member in the whole run."""
        return self.agent_steps * self.action_repeat

    @property
    def steps_per_iteration(self) -> int:
        """Agent steps that one unroll of all of a member's environments takes."""
        return self.num_envs * self.unroll * len(self.levels)


SETTING_DEFAULTS = RunConfig.model_validate({"level": "", "method": ""}).model_dump()
PARTS: dict[str, type[BaseModel]] = {"pbt": PBTConfig, "bandit": BanditConfig, "q": QConfig}  # that have settings
PART_DEFAULTS = {part: model().model_dump() for part, model in PARTS.items()}


def make_config(values: Mapping[str, Any]) -> RunConfig:
    """Validates `values`; an alpha that is a number is one that stays. Raises ConfigError with one sentence for each
    field that is wrong.

    Whether the method, the levels and the device that it names exist, `training.fitting.check` says.
    """
    given = dict(values)
    if isinstance(alpha := given.get("alpha"), (int, float)):
        given["alpha"] = ((0, alpha),)
    try:
        return RunConfig(**given)
    except ValidationError as error:
        raise ConfigError("; ".join(dict.fromkeys(map(sentence, error.errors())))) from None


def sentence(item: Any) -> str:
    """One pydantic error as a sentence that names the field, what was given and what is allowed."""
    message, field = str(item["msg"]).removeprefix("Value error, "), ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        part, _, _ = field.rpartition(".")
        known = [f"{part}.{n}" for n in PARTS[part].model_fields] if part in PARTS else list(RunConfig.model_fields)
        return f"unknown setting {field!r}; settings: {', '.join(known)}{suggestion(field, known)}"
    if item["type"] == "tuple_type":
        return f"{field} = {item['input']!r}: should be a list, in brackets"
    if item["type"] == "int_from_float" and item["loc"][0] == "alpha":  # the time of a knot
        return f"{field} = {item['input']!r}: {SHARES}"
    if item["type"] == "missing":
        return f"setting {field!r} is missing"
    return f"{field} = {item['input']!r}: {message[0].lower()}{message[1:]}" if field else message
