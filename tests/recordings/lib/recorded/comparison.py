"""Holds what one kernel answered to what another did; values do not count, forms and words do."""

from recorded.recording import Recording


def find_differences(imitation: Recording, real: Recording) -> list[str]:
    """Say where an imitation answers what the real one does not: other words, other attributes, a request granted.

    Questions that the real one was not asked are left out: `find_unasked` has them.
    """
    found = []
    for question in sorted(imitation.answers.keys() & real.answers.keys()):
        ours, theirs = imitation.answers[question], real.answers[question]
        found += [f"{question}: refused with {one}" for one in sorted(ours.refusals - theirs.refusals)]
        if ours.granted and not theirs.granted:
            found.append(f"{question}: granted without a reply")
        if ours.replies and theirs.replies:
            found += [f"{question}: replies with {path}" for path in sorted(ours.paths - theirs.paths)]
            found += [f"{question}: replies without {path}" for path in sorted(theirs.paths - ours.paths)]
        elif ours.replies:
            found.append(f"{question}: granted with a reply")
    return found


def find_unasked(imitation: Recording, real: Recording) -> list[str]:
    """Name the questions that the imitation was asked and the real one was not."""
    return [str(question) for question in sorted(imitation.answers.keys() - real.answers.keys())]
