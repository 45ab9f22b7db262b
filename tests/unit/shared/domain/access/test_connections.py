"""Which connections may open."""

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.access.connections import Opening, judge_openings


def opening(name: str, nonce: str | None = None, license_id: str = "a", limit: int = 2) -> Opening:
    return Opening(name, license_id, nonce or f"n-{name}", limit)


def test_a_license_is_filled_up_to_its_limit_and_not_beyond() -> None:
    asked = [opening("c1"), opening("c2"), opening("c3"), opening("d1", license_id="b")]
    assert judge_openings(asked, {}, {}) == ["opened", "opened", "exceeded", "opened"]
    assert judge_openings(asked, {"a": 1}, {}) == ["opened", "exceeded", "exceeded", "opened"]
    assert judge_openings(asked, {"a": 5, "b": 1}, {}) == ["exceeded"] * 3 + ["opened"]


def test_a_url_connects_once() -> None:
    asked = [opening("c1", "n"), opening("c2", "n"), opening("c3", "used")]
    assert judge_openings(asked, {}, {"used": "c0"}) == ["opened", "used", "used"]


def test_a_repeated_event_is_accepted_again_and_counts_once() -> None:
    asked = [opening("c1", "n"), opening("c1", "n"), opening("c2")]
    assert judge_openings(asked, {}, {}) == ["opened", "opened", "opened"]
    assert judge_openings(asked[:1], {"a": 2}, {"n": "c1"}) == ["opened"]


def test_a_url_that_was_refused_for_the_limit_is_not_used() -> None:
    asked = [opening("c1", limit=1), opening("c2", "n", limit=1), opening("c3", "n", license_id="b")]
    assert judge_openings(asked, {}, {}) == ["opened", "exceeded", "opened"]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=60),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 5)),
)
def test_no_license_ever_exceeds_its_limit(asked: list[tuple[str, int]], present: dict[str, int]) -> None:
    openings = [Opening(f"c{n}", license_id, f"n{nonce}", 4) for n, (license_id, nonce) in enumerate(asked)]
    verdicts = judge_openings(openings, present, {})
    opened = [one for one, verdict in zip(openings, verdicts, strict=True) if verdict == "opened"]
    assert len({one.nonce for one in opened}) == len(opened)
    for license_id in "abc":
        added = sum(one.license_id == license_id for one in opened)
        assert added <= max(0, 4 - present.get(license_id, 0))
