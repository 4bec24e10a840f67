"""A parent is put back into switchdev mode once a minute at most, whoever of its sub-functions asks for it."""

from rig.world import OTHER_PARENT, PARENT
from subfunction.errors import SwitchdevRefused
from subfunction_operator.agent.reconcile.restore_backoff import RestoreBackoff


def test_a_pause_is_the_parents_and_doubles_up_to_an_hour() -> None:
    now = 0.0
    backoff = RestoreBackoff(clock=lambda: now)
    assert backoff.pause_reason(PARENT) is None
    for pause in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        backoff.record(PARENT)
        assert backoff.pause_reason(OTHER_PARENT) is None
        now += pause - 1
        assert backoff.pause_reason(PARENT) is not None
        now += 1
        assert backoff.pause_reason(PARENT) is None


def test_a_good_hour_forgets_earlier_attempts() -> None:
    now = 0.0
    backoff = RestoreBackoff(clock=lambda: now)
    backoff.record(PARENT)
    now += 60
    backoff.record(PARENT)
    now += 120 + 3600
    backoff.record(PARENT)
    now += 60
    assert backoff.pause_reason(PARENT) is None


def test_the_kernels_words_stand_until_the_next_attempt() -> None:
    backoff = RestoreBackoff(clock=lambda: 0.0)
    backoff.record(PARENT)
    backoff.record_refusal(PARENT, SwitchdevRefused("devlink dev eswitch set: LAG is active", errno=22))
    assert backoff.pause_reason(PARENT) == "devlink dev eswitch set: LAG is active"
