"""The form of an audit's findings."""

from dataclasses import dataclass
from typing import Literal

Check = Literal["balance", "conflict", "leak", "copies", "shortcut", "drift", "files", "groups", "masks", "positive",
                "values"]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """A finding: its check, kind, severity, number of images, and advice."""

    check: Check
    kind: str
    severity: Literal["info", "warning", "severe"]
    count: int
    advice: str
