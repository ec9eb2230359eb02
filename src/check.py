"""Stage check: refuse bad parameters before any output is touched."""

from typing import get_args

from cnnstudy.config.params import read_params
from cnnstudy.config.schema import StudyName
from cnnstudy.data.sources import require_sources
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.stage import run_stage


def main() -> None:
    """Check params.yaml, and that its sources are there.

    The output says what DVC does not see of params.yaml: the order of the classes. Else a good edit reruns nothing.
    """
    params = read_params()
    require_sources(params)
    orders = [f"{name}: {', '.join(params.study(name).classes)}\n" for name in get_args(StudyName)]
    files.write_text(paths.CHECK_OK, "params.yaml is valid\n" + "".join(orders))


if __name__ == "__main__":
    run_stage(main)
