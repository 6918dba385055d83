"""Records: what is written is read, and an entry that is not what its field says is named."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.errors import UsageError
from lmsuite.files.records import Count, MaybeInfinite, as_json, named, others, read


@dataclass(frozen=True)
class Step:
    number: Count
    slope: float = 0.0


@dataclass(frozen=True)
class Walk:
    steps: list[Step]
    loss: MaybeInfinite = math.inf
    place: str | None = None
    ended: bool | None = named("has ended")
    weights: dict[str, MaybeInfinite] | None = None
    sizes: tuple[int, ...] = ()
    rest: dict[str, Any] = others()

    def __post_init__(self) -> None:
        if self.place == "nowhere":
            raise UsageError("{place} must be somewhere", "place")


NUMBERS = st.floats(-1e17, 1e17)
WALKS = st.builds(
    Walk,
    steps=st.lists(st.builds(Step, st.integers(0, 10**17), NUMBERS), max_size=3),
    loss=NUMBERS | st.just(math.inf),
    place=st.none() | st.text(max_size=5).filter(lambda text: text != "nowhere"),
    ended=st.none() | st.booleans(),
    weights=st.none() | st.dictionaries(st.text(max_size=3), NUMBERS | st.just(math.inf)),
    sizes=st.lists(st.integers(-5, 5), max_size=3).map(tuple),
    rest=st.dictionaries(st.sampled_from("abc"), st.none() | st.integers() | st.text()),
)


@given(WALKS)
def test_what_is_written_is_read(walk: Walk) -> None:
    assert read(Walk, json.loads(json.dumps(as_json(walk), allow_nan=False))) == walk


def test_what_is_none_or_not_a_number_is_left_out_and_infinity_is_null() -> None:
    walk = Walk([Step(3, math.nan)], ended=True, rest={"more": 1})
    assert as_json(walk) == {
        "steps": [{"number": 3}],
        "loss": None,
        "has ended": True,
        "sizes": [],
        "more": 1,
    }


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "it is no JSON object"),
        ({}, "the entry 'steps' is missing"),
        ({"steps": {}}, "the entry 'steps' cannot be {}"),
        ({"steps": [3]}, "in 'steps', it is no JSON object"),
        ({"steps": [{"number": 1, "nummer": 2}]}, "in 'steps', the entry 'nummer' is unknown"),
        ({"steps": [{"number": -1}]}, "in 'steps', the entry 'number' cannot be -1"),
        ({"steps": [{"number": True}]}, "in 'steps', the entry 'number' cannot be True"),
        ({"steps": [{"number": 1.0}]}, "in 'steps', the entry 'number' cannot be 1.0"),
        ({"steps": [{"number": 1, "slope": None}]}, "in 'steps', the entry 'slope' cannot be None"),
        ({"steps": [], "loss": "low"}, "the entry 'loss' cannot be 'low'"),
        ({"steps": [], "loss": -math.inf}, "the entry 'loss' cannot be -inf"),
        ({"steps": [], "loss": 10**400}, "the entry 'loss' cannot be 1"),
        ({"steps": [], "place": 7}, "the entry 'place' cannot be 7"),
        ({"steps": [], "place": "nowhere"}, "place must be somewhere"),
        ({"steps": [], "has ended": 1}, "the entry 'has ended' cannot be 1"),
        ({"steps": [], "weights": {"a": "b"}}, "the entry 'weights.a' cannot be 'b'"),
        ({"steps": [], "sizes": "12"}, "the entry 'sizes' cannot be '12'"),
    ],
)
def test_a_wrong_entry_is_named(document: object, message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        read(Walk, document)
    assert str(refusal.value).startswith(message)
