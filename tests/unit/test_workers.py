"""When the supervisor starts another worker, and how long it waits for one that hangs."""

from engineroom.errors import ENGINE_HUNG, LOAD_FAILED
from engineroom.workers import MAX_DELAY_S, Place


def test_the_first_that_ends_is_replaced_at_once_and_the_next_ever_later():
    place = Place(0)
    delays = []
    for _ in range(9):
        place.bury(-9, has_served=True, life_s=1)
        delays.append(place.delay_s)
    assert delays == [0, 1, 2, 4, 8, 16, MAX_DELAY_S, MAX_DELAY_S, MAX_DELAY_S]


def test_one_that_has_served_for_a_while_is_replaced_at_once():
    place = Place(0)
    place.bury(-9, has_served=True, life_s=1)
    place.bury(-9, has_served=True, life_s=1)
    place.bury(-9, has_served=True, life_s=60)
    assert place.delay_s == 0


def test_one_that_took_long_to_fail_at_its_load_is_not():
    place = Place(0)
    for _ in range(2):
        place.bury(LOAD_FAILED, has_served=False, life_s=60)
    assert place.cannot_load
    assert place.delay_s == 1


def test_each_hang_gives_the_next_twice_the_time_until_something_else_ends_it():
    place = Place(0)
    patience = []
    for code in (ENGINE_HUNG, ENGINE_HUNG, ENGINE_HUNG, ENGINE_HUNG, ENGINE_HUNG, -9, ENGINE_HUNG):
        place.bury(code, has_served=True, life_s=100)
        patience.append(place.patience)
    assert patience == [2, 4, 8, 16, 16, 1, 2]
