"""Numbers that come late, twice or never, each found once."""

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tests.test_frames import load

if TYPE_CHECKING:
    from harness.load import order
else:
    order = load("order")

RIGHT, LATE, TWICE = order.Place


def walk(numbers, patience=8):
    """Places and lost numbers of a stream that begins at 0."""
    line = order.Order(0, patience)
    places, lost = [], []
    for number in numbers:
        place, gone = line.take(number)
        places.append(place)
        lost += gone
    return places, lost + line.end()


def test_in_order():
    assert walk(range(50)) == ([RIGHT] * 50, [])


def test_swapped_pair_is_one_late_number():
    assert walk([0, 2, 1, 3]) == ([RIGHT, RIGHT, LATE, RIGHT], [])


def test_second_copy_comes_twice_however_late():
    assert walk([0, 1, 1, 2, 0]) == ([RIGHT, RIGHT, TWICE, RIGHT, TWICE], [])


def test_second_copy_of_a_late_one():
    assert walk([1, 0, 0]) == ([RIGHT, LATE, TWICE], [])


def test_number_is_given_up_after_its_patience_and_then_has_come_twice():
    line = order.Order(0, 8)
    assert [line.take(number)[1] for number in range(1, 8)] == [[]] * 7
    assert line.take(8) == (RIGHT, [0])
    assert line.take(0) == (TWICE, [])


def test_nonsense_is_refused():
    line = order.Order(0, 8)
    with pytest.raises(ValueError, match="where 0 should have come"):
        line.take(10**9)


@given(st.integers(0, 2**32), st.integers(1, 300))
def test_every_fault_is_counted_once(seed, length):
    source = random.Random(seed)
    numbers, dropped, doubled, swapped = [], 0, 0, 0
    number = 0
    while number < length:
        what = source.random()
        if what < 0.1:
            dropped += 1
        elif what < 0.2:
            numbers += [number, number]
            doubled += 1
        elif what < 0.3 and number + 1 < length:
            numbers += [number + 1, number]
            swapped += 1
            number += 1
        else:
            numbers.append(number)
        number += 1
    numbers.append(length)  # so that a drop at the very end is seen
    places, lost = walk(numbers)
    assert (len(lost), places.count(TWICE), places.count(LATE)) == (dropped, doubled, swapped)
