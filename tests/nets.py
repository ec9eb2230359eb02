"""The studies' nets by name."""

from typing import Any

import pandas as pd

from cnnstudy.models import assemble
from cnnstudy.models.assemble import Design
from cnnstudy.models.table import layer_table

# The side of the images that the report's layer tables are for.
REPORT_SIZES = {"alexnet": 128, "vggnet": 128, "mobilenet": 128, "xraynet": 150}


def design(net: str, classes: int, side: int = 0, **options: Any) -> Design:
    """Return what a net is built from, by default for images as large as those of the report's layer tables."""
    return Design(net, tuple(sorted(options.items())), side or REPORT_SIZES[net], classes)


def table(net: str, classes: int, side: int = 0, **options: Any) -> pd.DataFrame:
    """Return a net's layer table."""
    return layer_table(assemble.sketch(design(net, classes, side, **options)))
