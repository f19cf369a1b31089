"""Policies: distributions over the joint actions of a space, and divergences between them (paper
section 3).

Every policy is a `torch.distributions.Distribution` over joint action indices 0 … A − 1 (int64, the
order of `mmlib.spaces`), whatever its own support, so that policies over a small and a big space
mix and compare. Shapes: [...] the batch, A joint actions, S actions of a support, K constituents, G
groups, C sum of sizes. Entropies and divergences are in nats. A probability of 0 has
log-probability −inf and passes no gradient.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints, kl_divergence, register_kl

from mmlib.numerics import logspace

_LOGITS = constraints.independent(constraints.real, 1)


class Policy(Distribution):
    """A distribution over joint actions 0 … A − 1; the base of every policy here.

    Subclasses give `joint_log_probs`, `log_probs_at`, `_log_prob` and `_draw`, and closed forms.
    """

    num_actions: int  # A
    # int64 [S], the only actions ever taken; None: any of the A
    support_actions: Tensor | None = None

    def joint_log_probs(self) -> Tensor:
        """The log-probability of every joint action, [..., A]; −inf outside the support."""
        raise NotImplementedError

    def log_probs_at(self, actions: Tensor) -> Tensor:
        """The log-probabilities, [..., S], of S joint actions, int64 [S], the same everywhere."""
        raise NotImplementedError

    def support_log_probs(self) -> Tensor:
        """The log-probabilities, [..., S], of the support's actions, of all A where it is None."""
        actions = self.support_actions
        return self.joint_log_probs() if actions is None else self.log_probs_at(actions)

    @property
    def probs(self) -> Tensor:
        """Probability of every joint action, [..., A]."""
        return self.joint_log_probs().exp()

    def entropy(self) -> Tensor:
        """−Σ_a π(a) log π(a), [...], by enumeration of the support."""
        return logspace.entropy(self.support_log_probs())

    def collision_entropy(self) -> Tensor:
        """−log Σ_a π(a)², [...] (section 4.1, figure 5), by enumeration of the support."""
        return -torch.logsumexp(2 * self.support_log_probs(), dim=-1)

    def marginals(self, sizes: Sequence[int]) -> Tensor:
        """The marginal probabilities, [..., C], of groups of sizes [G] (figure 5), by enumeration.

        Raises:
          ValueError: the product of the sizes is not the policy's number of actions.
        """
        if (count := math.prod(sizes)) != self.num_actions:
            raise ValueError(
                f"group sizes {tuple(sizes)} make {count} joint actions, not {self.num_actions}"
            )
        return logspace.marginals(self.support_log_probs(), self.support_actions, tuple(sizes))

    def log_prob(self, value: Tensor) -> Tensor:
        """log π(a), [*sample_shape, ...], of joint actions; −inf if impossible; enumerates none."""
        if self._validate_args:
            self._validate_sample(value)
        return self._log_prob(value)

    @torch.no_grad()
    def sample(
        self, sample_shape: Sequence[int] = (), generator: logspace.Generators = None
    ) -> Tensor:
        """Joint actions, int64 [*sample_shape, ...], by `generator` or the global one."""
        policy = self.expand((*sample_shape, *self.batch_shape)) if sample_shape else self
        return policy._draw(generator)

    def _log_prob(self, value: Tensor) -> Tensor:
        raise NotImplementedError

    def _draw(self, generator: logspace.Generators) -> Tensor:
        raise NotImplementedError

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """Joint actions 0 … A − 1, for torch.distributions; `support_actions` may be fewer."""
        return constraints.integer_interval(0, self.num_actions - 1)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        """The policy with its batch expanded (a view)."""
        new = self._get_checked_instance(type(self), _instance)
        new.__dict__.update(self.__dict__)
        for name in self.arg_constraints:  # each parameter is [..., something]
            setattr(new, name, getattr(self, name).expand(*batch_shape, -1))
        new._batch_shape = Size(batch_shape)
        return new

    @property
    def _device(self) -> torch.device:
        return getattr(self, next(iter(self.arg_constraints))).device


class OnSupport(Policy):
    """A softmax over S of the A joint actions, zero elsewhere: π₁ in π₂'s space (section 4.1).

    Args:
      logits: [..., S], unnormalised.
      support: int64 [S], distinct joint actions in 0 … A − 1.
      num_actions: A.

    Raises:
      ValueError: the support does not fit the logits, or (validated) is not distinct or leaves the
        space.
    """

    arg_constraints: ClassVar = {"logits": _LOGITS}
    support_actions: Tensor  # int64 [S]

    def __init__(
        self, logits: Tensor, support: Tensor, num_actions: int, validate_args: bool | None = None
    ):
        support = torch.as_tensor(support, dtype=torch.int64, device=logits.device)
        if support.ndim != 1 or logits.ndim == 0 or logits.shape[-1] != len(support):
            raise ValueError(
                f"logits of shape {list(logits.shape)} do not fit a support of shape "
                f"{list(support.shape)}: they must be [..., S] and [S]"
            )
        self.num_actions, self.support_actions = num_actions, support
        self.logits = torch.log_softmax(logits, dim=-1)  # normalised, as in torch's Categorical
        super().__init__(logits.shape[:-1], validate_args=validate_args)
        if self._validate_args:
            _check_support(support, num_actions)

    def joint_log_probs(self) -> Tensor:
        table = self.logits.new_full((*self.batch_shape, self.num_actions), -math.inf)
        return table.index_copy(-1, self.support_actions, self.logits)

    def support_log_probs(self) -> Tensor:
        return self.logits

    def log_probs_at(self, actions: Tensor) -> Tensor:
        position, inside = logspace.positions(actions, self.support_actions)
        return self.logits.index_select(-1, position).masked_fill(~inside, -math.inf)

    def _log_prob(self, value: Tensor) -> Tensor:
        chosen = value.unsqueeze(-1) == self.support_actions  # (..., S), at most one
        return torch.where(chosen, self.logits, -math.inf).amax(-1)

    def _draw(self, generator: logspace.Generators) -> Tensor:
        return self.support_actions[logspace.gumbel(self.logits, generator).argmax(-1)]


class Masked(OnSupport):
    """Another policy, renormalised over S of its actions (section 4.1: shared head, masked KL).

    Args:
      base: the policy, of any kind; gradients reach its logits.
      support: int64 [S], distinct joint actions in 0 … A − 1.

    Raises:
      ValueError: (validated) the support is not distinct or leaves the space, or `base` never acts
        in it.
    """

    def __init__(self, base: Policy, support: Tensor, validate_args: bool | None = None):
        support = torch.as_tensor(support, dtype=torch.int64, device=base._device)
        validate = base._validate_args if validate_args is None else validate_args
        if validate:
            _check_support(support, base.num_actions)
        logits = base.log_probs_at(support)
        if validate and bool((logits == -math.inf).all(-1).any()):
            raise ValueError(
                f"cannot mask to support {support.tolist()}: the base has no probability there"
            )
        super().__init__(logits, support, base.num_actions, validate_args=validate)


class Factorised(Policy):
    """A product of softmaxes, π₂(a₁ … a_G|s) = Πⱼ π̂ⱼ(aⱼ|s) (section 4.1); A multiplies the sizes.

    Args:
      logits: [..., C], the groups' unnormalised logits after one another.
      sizes: values of each group, [G]; the first group is the slowest in the joint index.

    Raises:
      ValueError: the sizes do not add up to the logits' last dimension, or are not positive.
    """

    arg_constraints: ClassVar = {"logits": _LOGITS}

    def __init__(self, logits: Tensor, sizes: Sequence[int], validate_args: bool | None = None):
        self.sizes = tuple(sizes)
        total = sum(self.sizes)
        if not self.sizes or min(self.sizes) < 1 or logits.ndim == 0 or logits.shape[-1] != total:
            raise ValueError(
                f"group sizes {self.sizes} do not fit logits of shape {list(logits.shape)}: "
                f"they must be positive and add up to the last dimension, not to {total}"
            )
        self.num_actions = math.prod(self.sizes)
        groups = [torch.log_softmax(group, dim=-1) for group in logits.split(self.sizes, dim=-1)]
        self.logits = torch.cat(groups, dim=-1)  # normalised in each group
        super().__init__(logits.shape[:-1], validate_args=validate_args)

    @property
    def _layout(self) -> logspace.GroupLayout:
        return logspace.group_layout(self.sizes, self.logits.device)

    def joint_log_probs(self) -> Tensor:
        joint, *rest = self.logits.split(self.sizes, dim=-1)
        for group in rest:  # row-major: later groups are faster
            joint = (joint.unsqueeze(-1) + group.unsqueeze(-2)).flatten(-2)
        return joint

    def log_probs_at(self, actions: Tensor) -> Tensor:
        return self.logits[..., self._layout.columns(actions)].sum(-1)

    def _log_prob(self, value: Tensor) -> Tensor:
        # (..., G), (..., C)
        columns, logits = logspace.align(self._layout.columns(value), self.logits)
        return logits.gather(-1, columns).sum(-1)

    def entropy(self) -> Tensor:
        """The entropy, [...]: the sum of the groups'."""
        return logspace.entropy(self.logits)

    def collision_entropy(self) -> Tensor:
        """−log Σ_a π(a)², [...]: the sum of the groups' collision entropies."""
        groups = (2 * self.logits).split(self.sizes, dim=-1)
        return -torch.stack([torch.logsumexp(group, dim=-1) for group in groups], dim=-1).sum(-1)

    def marginals(self, sizes: Sequence[int]) -> Tensor:
        """Those of the own groups are what it is a product of."""
        return self.logits.exp() if tuple(sizes) == self.sizes else super().marginals(sizes)

    def _draw(self, generator: logspace.Generators) -> Tensor:
        groups = logspace.gumbel(self.logits, generator).split(self.sizes, dim=-1)
        chosen = torch.stack([group.argmax(-1) for group in groups], dim=-1)  # (..., G)
        return (chosen * self._layout.strides).sum(-1)


def masked_kl(p: Policy, q: Policy) -> Tensor:
    """KL(p ‖ q masked to p's support and renormalised), [...] (section 4.1, M&M (Masked KL))."""
    support = p.support_actions
    return kl_divergence(p, q if support is None else Masked(q, support))


@register_kl(Policy, Policy)
def _kl_policies(p: Policy, q: Policy) -> Tensor:
    """KL over the actions of p's support alone."""
    if p.num_actions != q.num_actions:
        raise ValueError(
            f"KL needs one action space; got {p.num_actions} and {q.num_actions} joint actions"
        )
    log_q = q.joint_log_probs() if p.support_actions is None else q.log_probs_at(p.support_actions)
    return logspace.kl(p.support_log_probs(), log_q)


@register_kl(Factorised, Factorised)
def _kl_factorised(p: Factorised, q: Factorised) -> Tensor:
    """KL of products: over the same groups it is the sum of the groups' KLs."""
    return logspace.kl(p.logits, q.logits) if p.sizes == q.sizes else _kl_policies(p, q)


def _check_support(support: Tensor, num_actions: int) -> None:
    actions = support.tolist()
    inside = all(0 <= action < num_actions for action in actions)
    if not actions or not inside or len(set(actions)) < len(actions):
        raise ValueError(
            f"a support is distinct joint actions in 0 … {num_actions - 1}; got {actions}"
        )
