"""Recorded answers and announcements, spoiled: an error of ours or the right object, and nothing else ever."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core import mutations, recordings
from tests.core.mutations import Place
from tests.core.recordings import ANNOUNCED, Answers, Recording

from subfunction.errors import MalformedReply, SubFunctionError

QUESTIONS = recordings.recordings()
ANNOUNCEMENTS = recordings.announcements()
often = settings(max_examples=200, deadline=None)


def with_datagram(answers: Answers, which: tuple[int, int], change: Callable[[bytes], bytes]) -> Answers:
    """Change one datagram."""
    return tuple(
        tuple(change(datagram) if (i, j) == which else datagram for j, datagram in enumerate(group))
        for i, group in enumerate(answers)
    )


def any_datagram(data: st.DataObject, answers: Answers) -> tuple[int, int]:
    return data.draw(st.sampled_from([(i, j) for i, group in enumerate(answers) for j in range(len(group))]))


def any_place(data: st.DataObject, answers: Answers) -> tuple[tuple[int, int], Place]:
    places = [
        ((i, j), place)
        for i, group in enumerate(answers)
        for j, datagram in enumerate(group)
        for place in mutations.places(datagram)
    ]
    return data.draw(st.sampled_from(places))


def has_places(recording: Recording) -> bool:
    return any(mutations.places(datagram) for group in recording.answers for datagram in group)


any_recording = st.sampled_from(QUESTIONS)
any_structured = st.sampled_from([recording for recording in QUESTIONS if has_places(recording)])


def read(recording: Recording, datagram: bytes) -> object:
    """Read an announcement; any other exception than ours is a fault."""
    try:
        return ANNOUNCED[recording.name](datagram)
    except MalformedReply as error:
        return error


@pytest.mark.parametrize("recording", QUESTIONS, ids=str)
def test_a_recorded_answer_is_understood(recording: Recording) -> None:
    outcome = recordings.replay(recording, recording.answers)
    assert not isinstance(outcome, SubFunctionError), outcome


@given(any_recording, st.data())
@often
def test_an_answer_cut_short_anywhere_is_an_error(recording: Recording, data: st.DataObject) -> None:
    which = any_datagram(data, recording.answers)
    cut = data.draw(st.integers(0, len(recording.answers[which[0]][which[1]]) - 1))
    shortened = with_datagram(recording.answers, which, lambda datagram: datagram[:cut])
    # What came after it is lost too.
    lost = tuple(
        tuple(datagram for j, datagram in enumerate(group) if (i, j) <= which and datagram)
        for i, group in enumerate(shortened)
    )
    assert isinstance(recordings.replay(recording, lost), SubFunctionError)


@given(any_recording, st.data())
@often
def test_an_answer_with_any_bytes_changed_is_an_answer_or_an_error(recording: Recording, data: st.DataObject) -> None:
    answers = recording.answers
    for _ in range(data.draw(st.integers(1, 4))):
        which = any_datagram(data, answers)
        at = data.draw(st.integers(0, len(answers[which[0]][which[1]]) - 1))
        octet = bytes([data.draw(st.integers(0, 255))])
        answers = with_datagram(answers, which, lambda old, at=at, octet=octet: old[:at] + octet + old[at + 1 :])  # type: ignore[misc]  # a lambda's defaults have no type
    recordings.replay(recording, answers)


@given(any_structured, st.data())
@often
def test_an_attribute_of_any_other_length_is_an_answer_or_an_error(recording: Recording, data: st.DataObject) -> None:
    which, place = any_place(data, recording.answers)
    length = data.draw(st.integers(0, 0xFFFF) | st.integers(0, place.length + 8))
    recordings.replay(
        recording,
        with_datagram(recording.answers, which, lambda old: mutations.lengthened(old, place, length)),
    )


@given(any_structured, st.data())
@often
def test_an_attribute_that_is_missing_is_an_answer_without_it_or_an_error(
    recording: Recording, data: st.DataObject
) -> None:
    which, place = any_place(data, recording.answers)
    recordings.replay(
        recording, with_datagram(recording.answers, which, lambda old: mutations.replaced(old, place, b""))
    )


@given(any_structured, st.data())
@often
def test_an_attribute_of_another_value_is_an_answer_or_an_error(recording: Recording, data: st.DataObject) -> None:
    which, place = any_place(data, recording.answers)
    other = mutations.attribute(place.number, data.draw(st.binary(max_size=24)))
    recordings.replay(
        recording, with_datagram(recording.answers, which, lambda old: mutations.replaced(old, place, other))
    )


@given(any_structured, st.data())
@often
def test_attributes_of_a_later_kernel_change_nothing(recording: Recording, data: st.DataObject) -> None:
    which, place = any_place(data, recording.answers)
    later = mutations.attribute(mutations.UNKNOWN, data.draw(st.binary(max_size=24)))
    later += bytes(-len(later) % 4)

    def before(old: bytes) -> bytes:
        return mutations.replaced(old, place, later + old[place.offset : place.offset + place.length])

    changed = with_datagram(recording.answers, which, before)
    assert recordings.replay(recording, changed) == recordings.replay(recording, recording.answers)


@pytest.mark.parametrize("recording", [recording for recording in QUESTIONS if has_places(recording)], ids=str)
def test_an_attribute_that_stands_there_twice_is_the_same_answer_or_an_error(recording: Recording) -> None:
    right = recordings.replay(recording, recording.answers)
    for i, group in enumerate(recording.answers):
        for j, datagram in enumerate(group):
            for place in mutations.places(datagram):
                twice = datagram[place.offset : place.offset + (place.length + 3 & ~3)] * 2
                changed = with_datagram(
                    recording.answers,
                    (i, j),
                    lambda old, place=place, twice=twice: mutations.replaced(old, place, twice),  # type: ignore[misc]  # a lambda's defaults have no type
                )
                outcome = recordings.replay(recording, changed)
                assert isinstance(outcome, SubFunctionError) or outcome == right


@pytest.mark.parametrize("recording", ANNOUNCEMENTS, ids=str)
def test_a_recorded_announcement_is_understood(recording: Recording) -> None:
    read_all = [read(recording, datagram) for group in recording.answers for datagram in group]
    assert any(read_all)
    assert not [event for event in read_all if isinstance(event, MalformedReply)]


@given(st.sampled_from(ANNOUNCEMENTS), st.data())
@often
def test_an_announcement_with_any_bytes_changed_is_an_announcement_or_malformed(
    recording: Recording, data: st.DataObject
) -> None:
    datagram = bytearray(data.draw(st.sampled_from([datagram for group in recording.answers for datagram in group])))
    for _ in range(data.draw(st.integers(1, 4))):
        datagram[data.draw(st.integers(0, len(datagram) - 1))] = data.draw(st.integers(0, 255))
    read(recording, bytes(datagram[: data.draw(st.integers(0, len(datagram)) | st.just(len(datagram)))]))


@pytest.mark.parametrize("name", sorted(ANNOUNCED))
@given(datagram=st.binary(max_size=300))
@often
def test_any_bytes_are_an_announcement_or_malformed(name: str, datagram: bytes) -> None:
    read(Recording("none", name, ()), datagram)
