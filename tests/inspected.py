"""Runs for the inspector's tests: every wiring, K = 3 and K = 1; and how they wait for what goes on meanwhile."""

from mmlib.config import make_config
from mmlib.training.loop import train

MINI = "explore_object_locations_small_mini"
MULTITASK = f"{MINI}+nav_maze_static_01_mini+nav_maze_static_02_mini"
METHODS = {"mm": MINI, "mm_ff_lstm": MINI, "mm_multitask": MULTITASK, "mm_three": MINI, "small": MINI}


def train_run(root, method, **settings):
    """Trains `method` in `root`/method/seed0: one unroll of each level, twice; two members where it is M&M."""
    level = METHODS[method]
    steps = 10 * len(level.split("+"))
    run = {"level": level, "method": method, "agent_steps": 2 * steps, "checkpoint_every": steps, "alpha": ((0, 0.3),)}
    size = settings | {"num_envs": 1, "unroll": 10, "width": 48, "height": 36, "conv1": (4, 2)}
    train(make_config(run | size | {"population": 2 if method == "mm" else 1}), root / method / "seed0")


def finish(work):
    """Waits for what was begun last in the background, if anything was."""
    if work.thread is not None:
        work.thread.join(300)
        assert not work.thread.is_alive()
