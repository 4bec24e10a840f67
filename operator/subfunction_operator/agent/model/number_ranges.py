"""The ranges of sub-function numbers to choose from: one for all parents, or one of a parent's own. Pure."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from subfunction.errors import InvalidSetting
from subfunction.kernel.address import Handle

_LARGEST: Final = 2**32 - 1
_FORM: Final = re.compile(
    r"(?:(?P<node>[a-z0-9.*-]+):)?(?P<parent>\*|[a-z*][a-z0-9_*-]*/[A-Za-z0-9_.:*-]+)=(?P<first>\d{1,10})-(?P<last>\d{1,10})"
)
_TYPED: Final = (
    "Type [NODE:]PARENT=FIRST-LAST, like `pci/0000:03:00.0=600-799` or `bf-*:pci/0000:03:00.*=600-999`: PARENT is a"
    " devlink handle, `*` stands for any text, and numbers go up to 4294967295."
)


@dataclasses.dataclass(frozen=True, slots=True)
class NumberRange:
    """The numbers of the parents that a pattern fits, on the nodes that another one fits."""

    node: str
    parent: str
    numbers: range

    @classmethod
    def parse(cls, text: str) -> "NumberRange":
        """Parse `pci/0000:03:00.0=600-799`, with `NODE:` before it for some nodes only.

        Raises:
            InvalidSetting: the text has another form, or its range is empty or goes beyond 32 bits.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise InvalidSetting(f"{text!r} is no range of numbers for a parent", hint=_TYPED)
        numbers = _range(int(found["first"]), int(found["last"]), text)
        return cls(found["node"] or "*", found["parent"], numbers)

    def fits(self, node: str, parent: str) -> bool:
        """Return whether it is for a parent of a node."""
        return fnmatchcase(node, self.node) and fnmatchcase(parent, self.parent)


@dataclasses.dataclass(frozen=True, slots=True)
class NumberRanges:
    """The numbers to choose from on one node: of the first range that fits a parent, else the `usual` ones."""

    usual: range = range(1, 1000)
    node: str = ""
    ranges: tuple[NumberRange, ...] = ()

    @classmethod
    def parse(cls, usual: tuple[int, int], node: str, texts: Sequence[str]) -> "NumberRanges":
        """Parse the settings of a node's agent; `usual` are the first and the last number for all other parents.

        Raises:
            InvalidSetting: a text is no range, or an earlier one leaves nothing for it; or a range is empty.
        """
        numbers = _range(*usual, f"first-number={usual[0]} last-number={usual[1]}")
        ranges = tuple(map(NumberRange.parse, texts))
        for index, each in enumerate(ranges):
            for earlier, text in zip(ranges[:index], texts, strict=False):
                if earlier.fits(each.node, each.parent):
                    raise InvalidSetting(
                        f"{texts[index]!r} would never count: {text!r} before it is for the same parents",
                        hint="The first range that fits a parent counts: put the narrower one first, or leave one out.",
                    )
        return cls(numbers, node, ranges)

    def of(self, parent: Handle) -> range:
        """Return the numbers to choose from on a parent."""
        return next((each.numbers for each in self.ranges if each.fits(self.node, str(parent))), self.usual)

    def limit(self, parent: Handle, capacity: int | None, taken: Iterable[int | None]) -> int | None:
        """Return how many sub-functions a parent can have, those of `taken` numbers among them; None if unknown.

        A card may have room for more than its range has numbers; those outside of the range take none of them.
        """
        if capacity is None:
            return None
        numbers = self.of(parent)
        return min(capacity, len(numbers) + sum(number not in numbers for number in taken))


def _range(first: int, last: int, text: str) -> range:
    if not first <= last <= _LARGEST:
        raise InvalidSetting(f"{text!r} has no numbers, or some beyond 32 bits", hint=_TYPED)
    return range(first, last + 1)
