"""One module a format: each lists the images of a source, sorted, with what the source says of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """An image that a source names: its path there, the label as found, its group and the split the source puts it in.

    `reason` is not empty where it is already known that the image can't be taken.
    """

    path: str
    label: str = ""
    group: str = ""
    hint: str = ""
    reason: str = ""
