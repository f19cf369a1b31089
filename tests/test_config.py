"""Bad configurations: a sentence that names the value and the choices, before any work."""

from dataclasses import replace

import pytest
import torch

from mmlib.config import ConfigError, make_config
from mmlib.method.schedule import piecewise
from mmlib.training.fitting import check, specification

GOOD = {"level": "explore_object_locations_small_mini", "method": "mm"}


def test_defaults_are_the_papers():
    config = make_config(GOOD)
    assert (config.width, config.height, config.action_repeat, config.unroll) == (96, 72, 4, 100)
    assert (config.discount, config.baseline_cost, config.rms_decay, config.rms_epsilon) == (0.99, 0.5, 0.99, 0.1)
    assert config.transfer_cost is None and config.reward_clip == 1.0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"level": "nav_maze"}, ["unknown level 'nav_maze'", "nav_maze_static_01"]),
        ({"method": "tiny"}, ["unknown method 'tiny'", "small", "big756", "mm"]),
        ({"backend": "doom"}, ["unknown backend 'doom'", "minilab"]),
        ({"device": "tpu"}, ["unknown device 'tpu'", "cpu", "cuda"]),
        ({"alpha": [[0, 1.5]]}, ["alpha", "1.5", "less than or equal to 1"]),
        ({"alpha": [[0, -0.1]]}, ["alpha", "-0.1", "greater than or equal to 0"]),
        ({"alpha": [[10, 0.1], [10, 0.2]]}, ["alpha", "strictly increasing"]),
        ({"alpha": []}, ["alpha", "at least one"]),
        ({"alpha": [[0, 0.0], [1, 1.0]]}, ["alpha", "agent steps", "not shares of the run"]),
        ({"alpha": [[0, 0.0], [0.5, 1.0]]}, ["alpha", "agent steps", "not shares of the run"]),
        ({"alpha": "[[0"}, ["alpha = '[[0'", "a list, in brackets"]),
        ({"level": "nav_maze_static_3"}, ["did you mean 'nav_maze_static_0"]),
        ({"level": "CartPole-v1"}, ["an environment of Gymnasium needs the backend gymnasium"]),
        ({"population": 0}, ["population = 0", "greater than or equal to 1"]),
        ({"unroll": 0}, ["unroll = 0", "greater than or equal to 1"]),
        ({"lag": 2}, ["lag = 2", "0 or 1"]),
        ({"dtype": "float16"}, ["dtype = 'float16'", "bfloat16"]),
        ({"learning_rate": float("nan")}, ["learning_rate = nan"]),
        ({"learner_batches": 5}, ["learner_batches 5 does not divide num_envs 32", "1, 2, 4, 8, 16, 32"]),
        ({"learning_rat": 1}, ["unknown setting 'learning_rat'", "; did you mean 'learning_rate'?"]),
        ({"population": 2, "pbt": {"redy": 3}}, ["'pbt.redy'; settings: pbt.adapt, pbt.ready", "mean 'pbt.ready'?"]),
        ({"conv1": [4, 8]}, ["conv1", "1 <= stride <= kernel <= 18, a quarter of the shorter side"]),
        ({"level_settings": {"skill": 3}}, ["takes no setting 'skill'; settings: episode_seconds"]),
        ({"transfer": "huber"}, ["unknown transfer 'huber'", "kl, masked_kl, cross_entropy, mixture_kl, none"]),
        ({"mixing": "soft"}, ["unknown mixing 'soft'", "explicit, sampled, none"]),
        ({"method": "big756", "transfer": "kl"}, ["'big756' has one policy", "transfer"]),
        ({"method": "mm_learned_alpha", "mixing": "sampled"}, ["mixing must be explicit, not 'sampled'"]),
        ({"population": 2, "pbt": {"alpha": [0.5, 1.2]}}, ["pbt.alpha", "1.2", "less than or equal to 1"]),
    ],
)
def test_errors_name_the_value_and_the_choices(override, words):
    with pytest.raises(ConfigError) as error:
        check(make_config(GOOD | override))
    for word in words:
        assert word in str(error.value)


def test_one_number_is_an_alpha_that_stays():
    assert make_config(GOOD | {"alpha": 0.3}).alpha == ((0, 0.3),)


def test_missing_settings_are_named():
    with pytest.raises(ConfigError, match=r"'level' is missing.*'method' is missing"):
        make_config({})


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_one():
    with pytest.raises(ConfigError, match="no CUDA device; use --device cpu"):
        check(make_config(GOOD | {"device": "cuda"}))


def test_piecewise():
    knots = [(100, 0.0), (200, 1.0), (300, 0.5)]
    got = [piecewise(knots, t) for t in (0, 100, 150, 200, 250, 300, 1000)]
    assert got == [0.0, 0.0, 0.5, 1.0, 0.75, 0.5, 0.5]


@pytest.mark.parametrize(
    ("ties", "same"),
    [
        ({"transfer": "masked_kl"}, "mm_masked_kl"),
        ({"transfer": "none"}, "mm_no_kl"),
        ({"transfer": "mixture_kl"}, "mm_mixture_kl"),
        ({"transfer": "cross_entropy"}, "mm_cross_entropy"),
        ({"stop_gradient": True}, "mm_stop_gradient"),
        ({"mixing": "sampled"}, "mm_sampled"),
        ({"mixing": "none"}, "kl_no_mixing"),
    ],
)
def test_ties_by_name_make_the_methods_of_the_table(ties, same):
    spec = specification(make_config(GOOD | ties))
    assert replace(spec, label="") == replace(specification(make_config(GOOD | {"method": same})), label="")


def test_what_records_cannot_hold_is_refused():
    """Before any work: a reader takes whole numbers of 53 bits."""
    for name, value in (("seed", 2**63), ("agent_steps", 2**53), ("action_repeat", 2**20)):
        with pytest.raises(ConfigError, match=f"{name} = {value}: input should be less than or equal to"):
            make_config({"level": "nav_maze_static_01", "method": "mm", name: value})
