"""kill -9 before every write of every move, then the same move again: the same end, each move once."""

import multiprocessing
import os
import shutil
import signal

import pytest

from tests.support.rollouts import register, registry_of, rollout_config, send

pytestmark = pytest.mark.slow
WRITES = 12  # more than any move makes
# In order, from version 1 in production. Traffic is sent before a move that the analysis has to allow.
STORY = (
    ("start_shadow", 2),
    ("canary_05", 2),
    ("canary_25", 2),
    ("production", 2),
    ("start_shadow", 3),
    ("canary_05", 3),
    ("abort", 3),
    ("rollback", 2),
)


def do(home, what, candidate, fatal):
    """One move in a process of its own; it is killed before write number `fatal` (counted from 0)."""
    from pipelines.models.registry import Registry
    from pipelines.operations import rollout
    from pipelines.stores.ledger import Ledger

    written = 0

    def deadly(write):
        def wrapper(*args, **kwargs):
            nonlocal written
            if written == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            written += 1
            return write(*args, **kwargs)

        return wrapper

    Ledger.add_promotion = deadly(Ledger.add_promotion)
    Registry.point, Registry.release = deadly(Registry.point), deadly(Registry.release)
    config, provenance = rollout_config(home), rollout.Provenance("ann", "a test")
    if what == "start_shadow":
        rollout.start_shadow(config, provenance, candidate.version)
    elif what == "abort":
        rollout.abort(config, provenance, candidate)
    elif what == "rollback":
        rollout.rollback(config, provenance)
    else:
        rollout.advance(config, provenance, what, candidate)


def start(config, adapter):
    """Version 1 in production, as if it had gone there before."""
    from pipelines.core.traffic_split import Route
    from pipelines.models.aliases import reconcile
    from pipelines.stores import open_ledger
    from pipelines.stores.ledger import START

    ledger = open_ledger(config)
    ledger.add_promotion(START, "production", Route(production=adapter, has_previous=True), "a test", "ann")
    reconcile(ledger.promotions(), registry_of(config))


def state(config):
    from pipelines.stores import open_ledger

    ledger, registry = open_ledger(config), registry_of(config)
    named = {name: registry.by_alias(name) for name in ("candidate", "canary", "production", "previous")}
    versions = {name: adapter and adapter.version for name, adapter in named.items()}
    ledger.verify()
    return [(move.move, move.route) for move in ledger.promotions()], versions


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    names = ("operations.rollout", "models.aliases", "models.pair", "models.registry")
    context.set_forkserver_preload([*(f"pipelines.{name}" for name in names), "tests.support.rollouts"])
    return context


def run(processes, *arguments):
    process = processes.Process(target=do, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def test_every_move_survives_a_kill_at_every_write(tmp_path, processes):
    home = tmp_path / "home"
    config = rollout_config(home)
    adapters = {1: register(config, 1)}
    for number in (2, 3):
        adapters[number] = register(config, number, adapters[number - 1])
    start(config, adapters[1])
    killed, production = 0, adapters[1]
    for place, (what, number) in enumerate(STORY):
        candidate = adapters[number]
        if what.startswith("canary") or what == "production":
            route = "shadow" if what == "canary_05" else "canary"
            count = 60 if route == "shadow" else 400
            send(config, candidate, route, count, (0.2, 0.9), production, seed=place)
        before = shutil.copytree(home, tmp_path / f"before-{place}")
        assert run(processes, home, what, candidate, WRITES) == 0
        calm = state(config)
        assert len(calm[0]) == place + 2
        undisturbed = shutil.copytree(home, tmp_path / f"after-{place}")
        for fatal in range(1, WRITES):  # before the first there is nothing to mend
            shutil.rmtree(home)
            shutil.copytree(before, home)
            exitcode = run(processes, home, what, candidate, fatal)
            if exitcode == 0:  # it makes no more writes than that
                break
            assert exitcode == -signal.SIGKILL
            killed += 1
            assert run(processes, home, what, candidate, WRITES) == 0
            assert state(config) == calm, (what, fatal)
        shutil.rmtree(home)
        shutil.move(undisturbed, home)
        production = candidate if what == "production" else production
    assert killed >= len(STORY)
    assert [move for move, _ in calm[0]].count("rollback") == 1
