"""`cnnstudy params`: compose conf/ into params.yaml, and list the runs' models as DVC artifacts."""

from typing import Any

import yaml

from cnnstudy.commands.check import check_params
from cnnstudy.config.compose import compose
from cnnstudy.config.schema import Params
from cnnstudy.workspace import files, paths

HEADER = "# Where each run's model lies, for `dvc artifacts get` and `gto register`; `cnnstudy params` writes it.\n"


def write_params(overrides: list[str]) -> None:
    """Write params.yaml, as `dvc exp run` does, and models/dvc.yaml.

    Where a value is not allowed, both stay as they were.

    Raises:
        UserError: conf/ has no such group, choice or key, or a value is not allowed.
    """
    with files.replacing(paths.PARAMS) as aside:
        params = compose(aside, overrides, paths.PARAMS)
        check_params(params)
    files.write_text(paths.ARTIFACTS, HEADER + yaml.safe_dump({"artifacts": artifacts(params)}, sort_keys=False))


def artifacts(params: Params) -> dict[str, Any]:
    """Return DVC's artifacts: every phase of every run, and its LiteRT files, with paths relative to models/."""
    found: dict[str, Any] = {}
    for run, settings in params.all_runs.items():
        *earlier, last = params.phases(run)
        places = {run: (f"{run}/{last}", last)} | {f"{run}-{phase}": (f"{run}/{phase}", phase) for phase in earlier}
        if run in params.exported:
            places[f"{run}-litert"] = (f"../{paths.exported(run).as_posix()}", "litert")
        title = params.studies[settings.study].title
        for name, (path, kind) in places.items():
            labels = [settings.study, settings.net, kind]
            found[name] = {"path": path, "type": "model", "desc": f"{title}: {run}, {kind}", "labels": labels}
    return found
