"""Why a run could not be resumed exactly, and how that is said."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

log = logging.getLogger("exactloop")


@dataclass(frozen=True)
class Finding:
    """One thing that would keep a resumed run from ending with the same bits.

    Attributes:
        what: What it is and why.
        where: The line of the program, as `file:number: text`; empty where there is none to be had.
        instead: What to do about it.
    """

    what: str
    where: str
    instead: str

    def __str__(self) -> str:
        return f"{self.what}\n    at {self.where}" if self.where else self.what


def listed(findings: Iterable[Finding]) -> str:
    """Returns the findings as text, each remedy once."""
    by_remedy: dict[str, list[str]] = {}
    for finding in findings:
        # One remedy, often a long one, is told once for all that it is for.
        by_remedy.setdefault(finding.instead, []).append(f"  {finding}")
    return "\n".join("\n".join([*dict.fromkeys(lines), f"  -> {remedy}"]) for remedy, lines in by_remedy.items())


class InexactRun(ValueError):
    """A run was refused because it could not be resumed exactly.

    Attributes:
        findings: All reasons.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(
            f"If this run were interrupted, it could not go on exactly as if it had not been:\n{listed(findings)}\n"
            "With Loop(..., exact=False) it runs nevertheless."
        )
        self.findings = tuple(findings)


def report(findings: Sequence[Finding], *, exact: bool) -> None:
    """Raises `InexactRun` if there are findings, or logs them if the run need not be exact."""
    if findings and exact:
        raise InexactRun(findings)
    if findings:
        log.warning("This run could not be resumed exactly:\n%s", listed(findings))
