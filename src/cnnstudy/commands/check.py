"""Checks of params.yaml against the present sources, generators and nets."""

from cnnstudy import models
from cnnstudy.config.checks import without_recipe
from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.data import crop
from cnnstudy.data.sources import check_sources
from cnnstudy.workspace.terminal import say


def check_params(params: Params) -> None:
    """Refuse formats, generators and nets that do not exist, and a crop without its detector.

    Prints where a study uses its default recipe.

    Raises:
        UserError: naming the key, its value and what is allowed.
    """
    check_sources(params)
    models.check_nets(params)
    for study in params.studies:
        crop.finder(params, study)
    for study in without_recipe(params):
        say(f"{study}: no recipe {params.recipe}; its default settings are used")


def check_file() -> None:
    """Check params.yaml; errors as in `check_params`."""
    check_params(read_params())
