"""Which labels a training makes suspicious, and why."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.ranking import rank_suspicious
from engine.errors import FormatError
from tests.annotator.labels import label_record


def test_a_label_whose_rois_were_dropped_comes_first_and_says_so() -> None:
    labels = {str(n): label_record(0.02, [1.0, 0.3, 0.2]) for n in range(1, 10)}
    labels["4"] = label_record(0.83, [1.0, 0.9, 0.9])
    ranked = rank_suspicious({"instances": labels}, names={4: "cat"})
    assert ranked[0][0] == 4
    assert ranked[0][2] == (
        "the detector dropped 83 % of the RoIs of this cat, and its loss stays 4.5 times the usual"
    )
    assert ranked[0][1] > 0.8
    # Ties keep the order of their numbers.
    assert [number for number, _, _ in ranked[1:]] == [1, 2, 3, 5, 6, 7, 8, 9]


def test_a_loss_that_stays_high_counts_without_any_drop() -> None:
    labels = {str(n): label_record(0.0, [1.0, 0.2 + n / 100, 0.2 + n / 100]) for n in range(10)}
    labels["7"] = label_record(0.0, [1.0, 0.9, 0.9])
    number, badness, reason = rank_suspicious({"instances": labels})[0]
    assert (number, badness > 0.5) == (7, True)
    assert "loss on this object stays" in reason


def test_a_high_loss_at_the_beginning_only_is_no_reason() -> None:
    labels = {str(n): label_record(0.0, [1.0, 0.8, 0.2, 0.2]) for n in range(10)}
    labels["7"] = label_record(0.0, [5.0, 4.0, 0.2, 0.2])
    assert rank_suspicious({"instances": labels})[0][1] == pytest.approx(0.0, abs=1e-9)


def test_a_label_that_was_hardly_seen_is_believed_less() -> None:
    labels = {str(n): label_record(0.1, [0.2, 0.2]) for n in range(10)}
    labels["1"], labels["2"] = (
        label_record(0.9, [0.2, 0.2], seen=1),
        label_record(0.8, [0.2, 0.2], seen=60),
    )
    assert [number for number, _, _ in rank_suspicious({"instances": labels})[:2]] == [2, 1]


records = st.dictionaries(
    st.integers(1, 99).map(str),
    st.builds(
        label_record,
        st.floats(0, 1),
        st.lists(st.floats(0, 1e6), max_size=4),
        seen=st.integers(0, 50),
    ),
    max_size=12,
)


@given(records, st.randoms(use_true_random=False))
def test_badness_lies_in_its_range_and_the_order_is_stable(
    labels: dict[str, Any], chance: random.Random
) -> None:
    ranked = rank_suspicious({"instances": labels})
    assert {number for number, _, _ in ranked} == {
        int(name) for name, one in labels.items() if one["seen"]
    }
    assert all(0.0 <= badness <= 1.0 for _, badness, _ in ranked)
    names = list(labels)
    chance.shuffle(names)
    again = rank_suspicious({"instances": {name: labels[name] for name in names}})
    assert [one[0] for one in again] == [one[0] for one in ranked]


def test_both_signals_find_more_planted_errors_than_either() -> None:
    generator = np.random.default_rng(8)
    labels, wrong = {}, set()
    for number in range(1, 401):
        is_wrong = generator.random() < 0.2
        level = generator.lognormal(0.9 if is_wrong else 0.0, 0.6)
        # The drop sees a part of the wrong ones only: those above its threshold.
        share = min(1.0, max(0.0, generator.normal(level / 6 - 0.3, 0.15)))
        noisy = [level * generator.lognormal(0, 0.3) for _ in range(4)]
        labels[str(number)] = label_record(share, noisy)
        wrong |= {number} if is_wrong else set()

    def precision(order: list[int]) -> float:
        return len(set(order[: len(wrong)]) & wrong) / len(wrong)

    combined = precision([number for number, _, _ in rank_suspicious({"instances": labels})])
    by_drop = precision(sorted(map(int, labels), key=lambda n: -labels[str(n)]["dropped"]))
    assert combined >= by_drop
    assert combined > 2 * len(wrong) / 400


@pytest.mark.parametrize(
    "content", [{}, {"instances": [1]}, {"instances": {"1": {"seen": 1}}}, {"instances": {"a": {}}}]
)
def test_what_is_no_record_of_labels_is_refused(content: Any) -> None:
    with pytest.raises(FormatError, match="no record of the labels"):
        rank_suspicious(content)
