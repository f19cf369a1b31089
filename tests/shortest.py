"""Figures through the command, from runs as short as can be."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHORT = {  # episodes of two seconds, some in each environment, on each of up to three levels
    "agent_steps": 900,
    "num_envs": 3,
    "unroll": 50,
    "learner_batches": 1,
    "log_every": 150,
    "level_settings": '{"episode_seconds": 2}',
}


def as_options(settings):
    """Settings as options of the command."""
    return [part for name, value in settings.items() for part in ("-p", f"{name}={value}")]


def make(figure, results, *options, **settings):
    """`mmlib figure`, preset smoke; returns what it printed."""
    command = [sys.executable, "-m", "mmlib", "figure", figure, "--preset", "smoke", *as_options(SHORT | settings)]
    result = subprocess.run([*command, *options, "--results", str(results)], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
