"""Mix & Match agent curricula for reinforcement learning (Czarnecki et al., ICML 2018)."""

__version__ = "0.1.0"
