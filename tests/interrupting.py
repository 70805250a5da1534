"""An interrupt at any place where Python looks for signals."""

import dis
import sys
from collections.abc import Callable
from types import FrameType, TracebackType

# Behind a call, at the beginning of a function, at the end of a turn of a loop.
LOOKS = {dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD")}
LOOKS |= {dis.opmap[name] for name in ("CALL_KW",) if name in dis.opmap}  # from Python 3.13 on


class Interrupt:
    """Raises a `KeyboardInterrupt` in the main thread at the n-th of these places.

    Attributes:
        left: How many places it has not come to.
        raised: Whether it has raised.

    Args:
        at: Which place, from 0.
        within: Whether those in a frame count.
    """

    def __init__(self, at: int, within: Callable[[FrameType], bool]) -> None:
        self.left, self.raised, self._within = at, False, within
        self._before: dict[FrameType, int] = {}  # the latest instruction

    def __enter__(self) -> "Interrupt":
        # Python 3.12 and 3.13 tell of instructions only if a frame asks for it when tracing begins.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._enter)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, frames: TracebackType | None) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: object) -> object:
        if self._within(frame):
            frame.f_trace_opcodes = True
            return self._instruction
        return None

    def _instruction(self, frame: FrameType, event: str, argument: object) -> object:
        if event == "opcode" and not self.raised:
            looks = self._before.get(frame) in LOOKS
            self._before[frame] = frame.f_code.co_code[frame.f_lasti]
            self.left -= looks
            if looks and self.left < 0:
                self.raised = True
                raise KeyboardInterrupt
        return self._instruction
