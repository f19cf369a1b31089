"""A population in shards over Ray: nodes on this machine, one of which is lost, and errors that cross processes."""

import os
import signal
import threading
import time

import pytest
from divided import config, same_numbers, told

from mmlib.errors import Stopped
from mmlib.runs.reader import Run
from mmlib.training import checkpoint, trained
from mmlib.training.fleet import ShardDied
from mmlib.training.loop import train


@pytest.fixture(scope="module")
def cluster():
    """A cluster on this machine, whose first node has no core and cannot be lost."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A node that is lost is missed within seconds; one that is slow, on a busy machine, is not lost.
    soon = {"health_check_initial_delay_ms": 5000, "health_check_period_ms": 1000, "health_check_failure_threshold": 5}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": soon}
    for left in (2, 1, 0):  # Ray gives a node 30 s to begin, which a busy machine may not have for it
        try:
            made = Cluster(initialize_head=True, head_node_args=head)
            break
        except Exception:  # no narrower one is raised
            if not left:
                raise
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
def test_over_ray_a_node_may_be_lost_while_it_trains(cluster, tmp_path):
    """Two shards on two nodes, one of which is killed: the run goes on, and is the run in one process."""
    from mmlib.training.ray_fleet import RayFleet, RayFleets

    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    run = config(agent_steps=80 * 30, checkpoint_every=400)
    train(run, tmp_path / "here")
    fleets, made = RayFleets(cluster.address, 2), []
    assert fleets.number(run) == 2 and fleets.number(config(population=1, pbt=None)) == 1
    assert fleets.address == cluster.address

    def make_fleet(config):
        made.append(fleets(config))
        return made[-1]

    def kill():
        while not over.is_set():
            if made and len(Run(tmp_path / "there").episodes()) >= 60:
                cluster.remove_node(nodes[1], allow_graceful=False)
                return
            time.sleep(0.02)

    over, killer = threading.Event(), threading.Thread(target=kill)
    killer.start()
    try:
        train(run, tmp_path / "there", make_fleet=make_fleet)
    finally:
        over.set()
        killer.join()
    assert len(made) > 1 and all(isinstance(fleet, RayFleet) for fleet in made)
    assert len(made[0]._actors) == 2 and len(made[-1]._actors) == 1  # what the node that is left carries
    assert told(tmp_path / "there") == told(tmp_path / "here")
    assert same_numbers(checkpoint.load(tmp_path / "there")["loop"], checkpoint.load(tmp_path / "here")["loop"])
    assert trained.load(tmp_path / "there").agent_steps == run.agent_steps


@pytest.mark.slow
def test_over_ray_a_shards_own_error_is_the_runs(cluster, tmp_path):
    from mmlib.training.ray_fleet import RayFleets

    cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    fleet = RayFleets(cluster.address, 2)(config())
    try:
        with pytest.raises(ValueError, match="zip"):  # a learner does not take another's number of tensors
            fleet.everyone("replace", 0, [])
        fleet._ray.kill(fleet._actors[1])
        with pytest.raises(ShardDied):
            for _ in range(100):
                fleet.everyone("state_dict")
                time.sleep(0.05)
    finally:
        fleet.close()


@pytest.mark.slow
def test_over_ray_a_run_that_waits_for_places_stops_at_the_first_signal(cluster, tmp_path):
    """Something else has all that the nodes carry; the run says that it was stopped, and may begin later."""
    import ray

    from mmlib.training.ray_fleet import RayFleets

    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    fleets = RayFleets(cluster.address, 1)
    places = int(ray.cluster_resources()["CPU"])
    others = [ray.remote(num_cpus=1)(object).remote() for _ in range(places)]
    ray.get([other.__ray_ready__.remote() for other in others])
    run = config(agent_steps=800)
    signalled = threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGTERM))
    signalled.start()
    try:
        with pytest.raises(Stopped):
            train(run, tmp_path, make_fleet=fleets)
    finally:
        signalled.join()
        for other in others:
            ray.kill(other)
    assert Run(tmp_path).state == "stopped" and not len(Run(tmp_path).episodes())
    train(run, tmp_path, make_fleet=fleets)
    assert Run(tmp_path).done
