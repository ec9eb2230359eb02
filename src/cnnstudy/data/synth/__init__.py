"""Synthetic images that the project generates itself: one module for each generator.

A generator has `CLASSES` and `OPTIONS`, the range of each option. `specify(label, split, index, seed, options)` returns
the specification of an image, a dataclass. `render(specification, size)` returns the pixels, uint8 [size, size, 3] or
[size, size]; `group(specification)` the patient or person, or ''; `area(specification, side)` the area of the evidence
for the class, bool [side, side]; `regions(specification, side)` masks of parts of the image by name, which do not
depend on the class. For a specification read back from JSON, `as_numbers` returns the numbers that the class may depend
on, `subgroups` the properties by which accuracy is compared, and `in_words` a caption.

A generator may have `VALUES`, the names of numbers that its images have; `values(label, split, index, seed)` then
returns them by name, and `UNCLASSED` is the label by which `specify` returns images of no class.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

SHARED = {"__init__", "drawing"}


def generators() -> list[str]:
    """Return the name of every generator."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in SHARED)


def generator(name: str) -> ModuleType:
    """Return a generator's module."""
    return import_module(f"{__name__}.{name}")
