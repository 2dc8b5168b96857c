import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sketches import FORMS_KEPT, HASH_BYTES, FormSketch

_SKETCHES = st.tuples(st.integers(0, 3000), st.integers(0, 3000)).map(
    lambda bounds: FormSketch.of(f"form {number}" for number in range(*sorted(bounds)))
)


@settings(deadline=None)
@given(_SKETCHES, _SKETCHES, _SKETCHES)
def test_sketches_add_up_to_the_same_in_any_order_and_grouping(a, b, c):
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)


@settings(deadline=None)
@given(_SKETCHES)
def test_adding_what_is_there_changes_nothing(sketch):
    assert sketch + sketch == sketch + FormSketch() == FormSketch() + sketch == sketch


@settings(deadline=None)
@given(st.sets(st.integers(0, 2000), max_size=1500), st.integers(0, 2000))
def test_the_sum_of_parts_is_the_sketch_of_the_whole(numbers, cut):
    forms = [f"form {number}" for number in numbers]
    assert FormSketch.of(forms[:cut]) + FormSketch.of(forms[cut:]) == FormSketch.of(forms)


def test_case_and_white_space_tell_no_forms_apart():
    assert len(FormSketch.of(["New York", "NEW YORK", " new\n york ", "Straße", "STRASSE"])) == 2


def test_forms_that_are_no_unicode_are_forms():
    assert len(FormSketch.of(["\ud800", "a"])) == 2


def test_size_is_bounded_whatever_is_added():
    sketch = FormSketch.of(str(number) for number in range(100_000))
    assert len(sketch) == FORMS_KEPT
    assert len(json.dumps(sketch.to_json())) == 4 * FORMS_KEPT * HASH_BYTES // 3 + 2


def test_what_is_kept_estimates_how_many_there_were():
    """The estimate of a full sketch has a relative standard error of 1 / sqrt(510); twenty of them average out."""
    ratios = []
    for trial in range(20):
        last = FormSketch.of(f"{trial} {number}" for number in range(5000)).hashes[-HASH_BYTES:]
        ratios.append((FORMS_KEPT - 1) / (int.from_bytes(last, "big") / 256**HASH_BYTES) / 5000)
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)
    assert 0.02 < np.std(ratios) < 0.08
