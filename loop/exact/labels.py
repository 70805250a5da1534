"""Labels for what a traced function returns and does: equal ones for what is computed in the same way."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from loop.exact.program import FunctionBody, Node

Outputs: TypeAlias = bytes | Sequence[bytes]
PASSED_THROUGH = ("Identity", "IdentityN")  # what goes in comes out; custom gradients put variables in, in any order
CALLS = ("Function", "PartitionedCall", "StatefulPartitionedCall")
BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")
LOOPS = ("While", "StatelessWhile")


class CallLabels(NamedTuple):
    """The labels of what a function returns, in its order, and of what it does, in none."""

    outputs: Sequence[bytes]
    effects: Sequence[bytes]

    def __repr__(self) -> str:
        """Returns what fingerprints hash: by the name that the class had when they were given their number."""
        return f"Done(outputs={self.outputs!r}, effects={self.effects!r})"


class GraphHasher:
    """Labels what functions return and do, given labels of their arguments.

    Equal labels stand for what is computed in the same way from the same things. A function that is called is labelled
    by what it is called with, as if it stood in the place of the call, so the order of arguments does not count.

    Args:
        bodies: The functions by name.
        valued: Whether the values of constants count.
    """

    def __init__(self, bodies: Mapping[str, FunctionBody], *, valued: bool) -> None:
        self._bodies, self._valued = bodies, valued
        self._known: dict[tuple[str, tuple[bytes, ...]], CallLabels] = {}

    def of(self, name: str, arguments: Sequence[bytes]) -> CallLabels:
        """Returns the labels of a function's outputs and of its effects."""
        key = name, tuple(arguments)  # a function that is called twice with the same is labelled once
        if key not in self._known:
            self._known[key] = self._labelled(self._bodies[name], arguments)
        return self._known[key]

    def _labelled(self, body: FunctionBody, arguments: Sequence[bytes]) -> CallLabels:
        outputs: dict[str, Outputs] = dict(zip(body.arguments, arguments, strict=True))
        effects: dict[str, Sequence[bytes]] = {}

        def resolved(reference: str) -> bytes:
            name, _, place = reference.partition(":")
            found = outputs[name]
            if isinstance(found, bytes):
                # One label for all outputs: the place tells them apart.
                return found if place in ("", "0") else found + place.encode()
            return found[int(place.rpartition(":")[2] or 0)]

        for node in body.nodes:
            inputs = [resolved(reference) for reference in node.inputs]
            # Of arguments there are none: waiting for one changes nothing.
            waits = sorted({effect for name in node.waits for effect in effects.get(name, ())})
            outputs[node.name], effects[node.name] = self._node(node, inputs, waits)
        return CallLabels([resolved(name) for name in body.returns], sorted(e for es in effects.values() for e in es))

    def _node(self, node: Node, inputs: Sequence[bytes], waits: Sequence[bytes]) -> tuple[Outputs, Sequence[bytes]]:
        """Returns the labels of an operation's outputs, or one for all of them, and of its effects."""
        what = node.kind, node.said, waits
        if node.kind in PASSED_THROUGH:
            return inputs, []
        if node.kind in (*CALLS, *BRANCHES, *LOOPS):
            done = self._call(node, inputs)
            return [label_of(what, label) for label in done.outputs], [
                label_of(what, done.effects)
            ] if done.effects else []
        # Functions of datasets say in no simple way what goes where; what they are given is in order.
        given = [[label_of(i) for i in range(len(self._bodies[name].arguments))] for name in node.bodies]
        inner = [self.of(name, arguments) for name, arguments in zip(node.bodies, given, strict=True)]
        if node.kind == "AddN" and len(inputs) == 2:  # of gradients, which follow the order of a loop's variables
            inputs = sorted(inputs)
        label = label_of(what, node.value if self._valued else b"", inputs, inner)
        return label, [label] if node.acts or any(done.effects for done in inner) else []

    def _call(self, node: Node, inputs: Sequence[bytes]) -> CallLabels:
        if node.kind in LOOPS:
            return self._loop(node.bodies[0], node.bodies[1], inputs)
        if node.kind in CALLS:
            return self.of(node.bodies[0], inputs)
        branches = [self.of(name, inputs[1:]) for name in node.bodies]  # the first says which branch is taken
        effects = [(inputs[0], i, effect) for i, branch in enumerate(branches) for effect in branch.effects]
        outputs = zip(*(branch.outputs for branch in branches), strict=True)
        return CallLabels([label_of(inputs[0], each) for each in outputs], [label_of(*each) for each in effects])

    def _loop(self, body: str, condition: str, start: Sequence[bytes]) -> CallLabels:
        """Labels the variables of a loop, which may come in any order, by how they begin and how they go on.

        At first those that begin alike have equal labels. Each round tells more of them apart, by the labels of what
        they are computed from; once it does not, no other will.
        """
        carried, done = start, self.of(body, start)
        # Ends: each round has more labels, and there are only so many variables.
        while len({*(refined := _pairs(start, done.outputs))}) > len({*carried}):
            carried, done = refined, self.of(body, refined)
        decided = self.of(condition, carried)
        what = decided.outputs, sorted(refined)
        effects = [*done.effects, *decided.effects]
        return CallLabels(_pairs([what] * len(refined), refined), [label_of(what, effects)] if effects else [])


def _pairs(left: Iterable[object], right: Iterable[object]) -> list[bytes]:
    return [label_of(*pair) for pair in zip(left, right, strict=True)]


def label_of(*parts: object) -> bytes:
    """Returns a label that is another one for other parts."""
    return hashlib.sha256(repr(parts).encode()).digest()[:8]  # 64 bits, which no two share by chance
