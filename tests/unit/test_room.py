"""Tenants take the places of an adapter in turns, and no place is ever lost."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.serving.room import QueueFull, Room
from tests.support.fuzz import examples

LATER = 1e9


class Story:
    """Requests that hold a place until they are told to end."""

    def __init__(self, places, queue):
        self.room, self.began, self.tasks = Room(places, queue), [], {}

    async def ask(self, name, deadline=LATER, mean_s=None):
        """`name` begins with the tenant."""
        ending = asyncio.Event()

        async def answer():
            async with self.room.place(name[0], deadline, mean_s):
                self.began.append(name)
                await ending.wait()

        self.tasks[name] = (asyncio.create_task(answer()), ending)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def end(self, name):
        self.tasks[name][1].set()
        for _ in range(4):
            await asyncio.sleep(0)

    async def leave(self, name):
        self.tasks[name][0].cancel()
        for _ in range(4):
            await asyncio.sleep(0)

    def is_refused(self, name):
        task = self.tasks[name][0]
        return task.done() and not task.cancelled() and isinstance(task.exception(), QueueFull)

    async def close(self):
        for task, _ in self.tasks.values():
            task.cancel()
            with suppress(asyncio.CancelledError, QueueFull):
                await task


def played(story):
    """Run an async test."""
    asyncio.run(story())


def test_a_free_place_goes_to_who_has_fewest():
    async def story():
        s = Story(2, 10)
        for name in ("a1", "a2", "a3", "a4", "b1", "b2"):
            await s.ask(name)
        assert s.began == ["a1", "a2"]
        for name in ("a1", "a2", "b1", "a3"):
            await s.end(name)
        assert s.began == ["a1", "a2", "b1", "a3", "b2", "a4"]
        await s.close()

    played(story)


def test_one_tenant_alone_is_served_in_order():
    async def story():
        s = Story(1, 3)
        for name in ("a1", "a2", "a3", "a4", "a5"):
            await s.ask(name)
        assert s.is_refused("a5")
        for name in ("a1", "a2", "a3"):
            await s.end(name)
        assert s.began == ["a1", "a2", "a3", "a4"]
        await s.close()

    played(story)


def test_a_full_queue_makes_room_for_who_holds_less():
    async def story():
        s = Story(1, 3)
        for name in ("a1", "a2", "a3", "a4", "b1"):
            await s.ask(name)
        assert s.is_refused("a4")
        assert not s.is_refused("b1")
        await s.ask("b2")  # the shares are even: a1 runs and a2 waits, and so do b1 and b2
        assert s.is_refused("a3")
        await s.ask("b3")
        await s.ask("a5")
        assert s.is_refused("b3")
        assert s.is_refused("a5")
        await s.close()

    played(story)


@pytest.mark.parametrize(("tenant", "ahead"), [("a", 4), ("b", 1), ("c", 1)])
def test_the_wait_is_estimated_by_turns(tenant, ahead):
    async def story():
        s = Story(2, 10)
        for name in ("a1", "a2", "a3", "a4", "a5", "b1"):
            await s.ask(name)
        assert s.room.ahead(tenant) == ahead
        await s.close()

    played(story)


def test_a_wait_that_is_too_long_is_refused_at_once():
    async def story():
        s, now = Story(1, 10), asyncio.get_running_loop().time()
        await s.ask("a1")
        await s.ask("a2", now + 1, mean_s=5.0)
        assert s.is_refused("a2")
        await s.ask("a3", now + 0.05)
        await asyncio.sleep(0.1)
        assert s.is_refused("a3")
        assert s.room.waiting == 0
        await s.close()

    played(story)


MOVES = st.lists(
    st.tuples(st.sampled_from(["ask", "end", "leave"]), st.sampled_from("abc"), st.integers(0, 5))
)


@settings(max_examples=examples())
@given(moves=MOVES, places=st.integers(1, 3), queue=st.integers(0, 4))
def test_no_place_is_lost_and_none_is_given_twice(moves, places, queue):
    async def story():
        s = Story(places, queue)
        for move, tenant, number in moves:
            name = f"{tenant}{number}"
            if move == "ask" and name not in s.tasks:
                await s.ask(name)
            elif move == "end" and name in s.tasks:
                await s.end(name)
            elif move == "leave" and name in s.tasks:
                await s.leave(name)
            running = [n for n in s.began if not s.tasks[n][0].done()]
            assert s.room._running.total() == len(running) <= places
            assert s.room.waiting <= queue
            assert not s.room.waiting or len(running) == places
        await s.close()
        assert not s.room.is_full
        assert s.room._running.total() == 0

    played(story)


def test_who_leaves_as_its_turn_comes_gives_it_back():
    async def story():
        s = Story(1, 3)
        for name in ("a1", "a2", "a3"):
            await s.ask(name)
        s.tasks["a1"][1].set()
        await asyncio.sleep(0)  # a1 ends, and a2 is given its place
        s.tasks["a2"][0].cancel()
        for _ in range(6):
            await asyncio.sleep(0)
        assert s.began in (["a1", "a3"], ["a1", "a2", "a3"])
        assert s.room._running.total() == 1
        await s.close()

    played(story)
