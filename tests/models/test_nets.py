"""Which nets there are and what options they have, read from their files; the shipped ones are known."""

import built
import pytest

from cnnstudy import models
from cnnstudy.errors import UserError


def test_a_net_is_a_file() -> None:
    assert models.nets() == ["alexnet", "applications", "mobilenet", "resnet18", "vggnet", "xraynet"]
    assert models.options_of("alexnet") == ()
    assert models.options_of("xraynet") == ("depth", "widths")
    assert models.options_of("applications") == ("name",)


def test_nets_and_options_that_are_not_there_are_refused() -> None:
    models.check_nets(built.params())
    with pytest.raises(
        UserError, match=r"^params\.yaml: runs\.alexnet\.net: 'pretrained' found; allowed: alexnet, .*$"
    ):
        models.check_nets(built.params(runs__alexnet__net="pretrained"))
    line = r"^params\.yaml: runs\.alexnet\.options\.depth: 3 found; allowed: an option of alexnet: none$"
    with pytest.raises(UserError, match=line):
        models.check_nets(built.params(runs__alexnet__options={"depth": 3}))
