"""The parts of the pool's CRD that are the SubFunction's: taken from its CRD, line by line: each has one source.

Left out is what makes a sub-function that one and no other (node, parent, number, MAC address, adoption), and the rules
that compare with what was there before: a template may change.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from subfunction_simulator.apiserver.server import crds_folder

SOURCE: Final = crds_folder() / "subfunctions.yaml"
POOLS: Final = crds_folder() / "subfunctionpools.yaml"
IDENTITY: Final = ("nodeName", "nodeSelector", "parent", "number", "macAddress", "adopt")

_SPEC: Final = ("spec", "versions", 0, "schema", "openAPIV3Schema", "properties", "spec")
_OF_ONE: Final = re.compile(rf"\b({'|'.join(IDENTITY)})\b")
_IN_OTHER_WORDS: Final = {
    " Immutable.": "",
    "(leave it in the kernel; the default with adopt)": "(leave it in the kernel)",
    "The index of the parent's virtual function, counted from 0, e.g. 3 for virtfn3.": (
        "The index of slot 0's virtual function, counted from 0, e.g. 3; slot 1 has the next. Needs per Parent."
    ),
}
_BEGIN: Final = "# from subfunctions.yaml by `make crds`: {}"
"""All that is indented as deep as this, after it."""


def whole(text: str) -> str:
    """Give the pool's CRD with its borrowed parts as they stand in the SubFunction's today."""
    for part, lines in (("parent", _parent()), ("spec", _template())):
        found = re.search(rf"^( *){re.escape(_BEGIN.format(part))}\n((?:\1.*\n)*)", text, re.MULTILINE)
        assert found is not None, f"no place for {part}"
        borrowed = "".join(f"{found[1]}{line}\n" for line in lines)
        text = text[: found.start(2)] + borrowed + text[found.end() :]
    return text


def _template() -> list[str]:
    spec = _Block.read(SOURCE).at(*_SPEC)
    dropped = [spec.entry("description"), spec.entry("required")]
    properties = spec.at("properties")
    dropped += [properties.entry(name) for name in IDENTITY]
    dropped += [rule.lines for rule in spec.rules() if _OF_ONE.search(rule.text) or "oldSelf" in rule.text]
    for name in properties.names():
        if name not in IDENTITY:
            dropped += properties.at(name).transitions()
    return spec.without(dropped)


def _parent() -> list[str]:
    parent = _Block.read(SOURCE).at(*_SPEC, "properties", "parent")
    return parent.without([parent.entry("description"), *parent.transitions()])


class _Block:
    """A part of a YAML file, and the lines it stands on."""

    def __init__(self, text: list[str], node: yaml.Node, lines: range) -> None:
        self._text = text
        self._node = node
        self.lines = lines

    @classmethod
    def read(cls, path: Path) -> "_Block":
        text = path.read_text()
        node = yaml.compose(text)
        assert node is not None
        return cls(text.splitlines(), node, range(len(text.splitlines())))

    @property
    def text(self) -> str:
        return "\n".join(self._text[line] for line in self.lines)

    def names(self) -> list[str]:
        assert isinstance(self._node, yaml.MappingNode)
        return [str(key.value) for key, _ in self._node.value]

    def entry(self, name: str) -> range:
        """Give the lines of a key and its value."""
        return dict(zip(self.names(), self._ranges(), strict=True))[name]

    def at(self, *path: str | int) -> "_Block":
        found = self
        for step in path:
            place = step if isinstance(step, int) else found.names().index(step)
            child = found._node.value[place]
            found = _Block(found._text, child if isinstance(step, int) else child[1], found._ranges()[place])
        return found

    def rules(self) -> "Iterator[_Block]":
        if isinstance(self._node, yaml.MappingNode) and "x-kubernetes-validations" in self.names():
            listed = self.at("x-kubernetes-validations")
            yield from (listed.at(place) for place in range(len(listed._node.value)))

    def transitions(self) -> list[range]:
        """Give the lines of the rules, here and below, that compare with what was there before."""
        found = [rule.lines for rule in self.rules() if "oldSelf" in rule.text]
        if found and len(found) == len(list(self.rules())):
            found = [self.entry("x-kubernetes-validations")]
        if isinstance(self._node, yaml.MappingNode):
            for name in self.names():
                found += self.at(name).transitions() if name != "x-kubernetes-validations" else []
        return found

    def without(self, dropped: list[range]) -> list[str]:
        """Give the lines of the value, its own indentation taken off, but for some."""
        gone = {line for lines in dropped for line in lines}
        kept = [self._text[line] for line in self.lines[1:] if line not in gone]
        indent = min(len(line) - len(line.lstrip()) for line in kept)
        return [_reworded(line[indent:]) for line in kept]

    def _ranges(self) -> list[range]:
        starts = [(each[0] if isinstance(each, tuple) else each).start_mark.line for each in self._node.value]
        return [range(start, end) for start, end in zip(starts, [*starts[1:], self.lines.stop], strict=True)]


def _reworded(line: str) -> str:
    for ours, theirs in _IN_OTHER_WORDS.items():
        line = line.replace(ours, theirs)
    return line
