"""Stage check: refuse wrong parameters before any output is changed."""

import sys

from cnnstudy.commands.check import check_params
from cnnstudy.config.params import read_params
from cnnstudy.data.sources import require_source
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.stage import run_stage


def main(study: str) -> None:
    """Check params.yaml, and that a study's source exists.

    The output holds the order of the classes and of the values, which DVC ignores in params.yaml. Other valid edits
    leave the output unchanged, and so rerun no later stage.
    """
    params = read_params()
    check_params(params)
    require_source(params.section(study), params.studies[study])
    lines = ["params.yaml is valid", f"classes: {', '.join(params.studies[study].classes)}"]
    if values := params.studies[study].values:
        lines.append(f"values: {', '.join(values)}")
    files.write_text(paths.check_ok(study), "".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
