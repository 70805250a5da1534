"""What TensorFlow's message about a failed operation says, without the tracebacks that are written into it."""

import re

from loop.errors.theirs import Line, since_called

FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<number>\d+), in (?P<function>.*)')
MADE, RAN = "Detected at node ", "Traceback (most recent call last):"  # begin the lines of an operation, of Python
OTHER = re.compile(r"Graph execution error:|<stack traces unavailable>|")
INSIDE = re.compile(r"\{\{function_node .*?\}\} ?| \[Op:\w+\]( name: ?\S*)?$")
NODE = re.compile(r"\{\{node (?P<name>[^}]*)\}\}")


def shortened(message: str) -> tuple[str, list[Line]]:
    """Returns a message without its tracebacks, and the user's lines in them: where it was made, then where it ran."""
    kept, stacks = list[str](), list[tuple[str, list[Line]]]()
    in_stack = False
    for text in message.split("\n"):
        if text.startswith(MADE) or text == RAN:
            stacks.append((text[: len(MADE)], []))
            in_stack = True
        elif in_stack and (frame := FRAME.match(text)):
            function = frame["function"] or "<lambda>"  # which TensorFlow takes for a tag
            stacks[-1][1].append(Line(frame["file"], int(frame["number"]), function))
        elif not (in_stack and text.startswith("    ")) and not OTHER.fullmatch(text.strip()):  # not the text of a line
            kept.append(INSIDE.sub("", text))
            in_stack = False
    # Where it was made says which line of the program it is; where Python ran, as in a map, says what raised.
    made = [stack for kind, stack in stacks if kind == MADE]
    ran = [stack for kind, stack in stacks if kind != MADE]
    lines = [
        line for stack in made[:1] + ran for line in since_called(stack)
    ]  # the others are of what called the first one
    # Each line once: TensorFlow repeats itself.
    return "\n".join(dict.fromkeys(kept)), lines


def failed(message: str) -> str:
    """Returns the name of the operation that failed; empty if the message has none."""
    found = NODE.search(message)
    return found["name"] if found else ""
