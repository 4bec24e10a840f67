"""A recording: each kind of request that a kernel was asked, with one answer of each form that it gave."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from recorded.exchanges import Exchange, Question, Refusal, reply_paths


@dataclasses.dataclass(slots=True)
class Answers:
    """The answers to one kind of request: the refusals, and a reply (bytes) for each set of attributes."""

    refusals: set[Refusal] = dataclasses.field(default_factory=set)
    replies: dict[frozenset[str], bytes] = dataclasses.field(default_factory=dict)
    granted: bool = False
    """Whether it was granted without a reply."""

    @property
    def paths(self) -> frozenset[str]:
        """The attributes that any of the replies had."""
        return frozenset().union(*self.replies)


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """What one driver on one kernel answered."""

    answers: dict[Question, Answers]

    @classmethod
    def of(cls, exchanges: Iterable[Exchange]) -> Self:
        """Keep one answer of each form."""
        found: dict[Question, Answers] = {}
        for exchange in exchanges:
            answers = found.setdefault(exchange.question, Answers())
            if exchange.refusal is not None:
                answers.refusals.add(exchange.refusal)
            elif not exchange.replies:
                answers.granted = True
            for reply in exchange.replies:
                answers.replies.setdefault(reply_paths(exchange.question.family, reply), reply)
        return cls(found)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read a recording of the repository."""
        return cls({_question(each): _answers(each) for each in json.loads(file.read_text())})

    def save(self, file: Path) -> None:
        """Write it, sorted, so that a change shows as one."""
        file.write_text(json.dumps([_to_json(*item) for item in sorted(self.answers.items())], indent=1) + "\n")

    def exchanges(self) -> list[Exchange]:
        """The recorded exchanges, a reply each."""
        return [
            Exchange(question, (reply,)) for question, found in self.answers.items() for reply in found.replies.values()
        ]


def _to_json(question: Question, answers: Answers) -> dict[str, Any]:
    refusals = [dataclasses.asdict(refusal) for refusal in sorted(answers.refusals)]
    replies = [answers.replies[paths].hex() for paths in sorted(answers.replies, key=sorted)]
    return {**dataclasses.asdict(question), "granted": answers.granted, "refusals": refusals, "replies": replies}


def _question(given: dict[str, Any]) -> Question:
    return Question(given["family"], given["command"], given["kind"], tuple(given["attributes"]))


def _answers(given: dict[str, Any]) -> Answers:
    replies = [bytes.fromhex(each) for each in given["replies"]]
    return Answers(
        {Refusal(**each) for each in given["refusals"]},
        {reply_paths(given["family"], reply): reply for reply in replies},
        given["granted"],
    )
