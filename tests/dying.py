"""Runs that die in one of their iterations, without a word."""

import pytest

from mmlib.training.loop import TrainingLoop, train


def train_until(iteration, config, directory, error=KeyboardInterrupt):
    """Trains, and dies of the error where that iteration, counted from 1, would begin."""
    iterate, calls = TrainingLoop.iterate, []

    def dying(self):
        calls.append(1)
        if len(calls) == iteration:
            raise error
        return iterate(self)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(error):
        patched.setattr(TrainingLoop, "iterate", dying)
        train(config, directory)
