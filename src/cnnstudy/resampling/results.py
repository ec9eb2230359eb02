"""The results of `cnnstudy splits`: the accuracy of nets on other splits of a study's images."""

import hashlib
import json
from typing import Any

from cnnstudy.config.schema import OF_VALUES, Params
from cnnstudy.workspace import paths


def settings_md5(params: Params, study: str, runs: list[str]) -> str:
    """Return the MD5 hash of the settings that decide how some runs of a study are trained."""
    shared = params.studies[study].model_dump(include={"classes", "image_size", "policies"})
    found: dict[str, Any] = {"study": shared, "batchnorm": params.batchnorm, "seed": params.seeds[0], "runs": {}}
    for run in runs:
        sizes = params.run_sizes(run).model_dump(include={"batch_size", "epochs", "class_weight"})
        own = params.all_runs[run].model_dump(exclude={"training", "options", "task"})
        training = params.run_recipe(run).model_dump(exclude=OF_VALUES)
        found["runs"][run] = {**own, **sizes, "options": params.options_of(run), "training": training}
    content = json.dumps(found, sort_keys=True)
    return hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()


def read(params: Params, study: str, samples: str) -> dict[str, Any]:
    """Return the results of `cnnstudy splits` for a study's present data and settings; {} if there are none.

    `samples` is the MD5 hash of samples.csv.
    """
    path = paths.other_splits(f"{study}-{params.studies[study].data or params.studies[study].source.format}")
    if not path.exists():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    runs = list(content["runs"])
    is_present = content["samples"] == samples and all(run in params.all_runs for run in runs)
    return content if is_present and content["settings"] == settings_md5(params, study, runs) else {}
