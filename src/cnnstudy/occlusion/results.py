"""The results of the stage `occlude`: the accuracy of a study's nets with parts of the images hidden."""

import json
from typing import Any

from cnnstudy.config.schema import Params
from cnnstudy.workspace import paths


def read(study: str) -> dict[str, Any]:
    """Return the results of a study, see `cnnstudy.occlusion.run.test_nets`; {} if there are none."""
    path = paths.occlusion_metrics(study)
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content


def of_run(params: Params, run: str, models: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the results of a run's last phase by test, if they are of these models (MD5 hash by phase); else {}."""
    its = read(params.all_runs[run].study).get("runs", {}).get(run, {})
    phase = params.phases(run)[-1]
    found: dict[str, dict[str, Any]] = its.get("tests", {})
    return found if its.get("phase") == phase and its.get("model_md5") == models[phase] else {}
