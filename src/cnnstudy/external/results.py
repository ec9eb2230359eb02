"""The results of the stage `external`: the accuracy of a study's nets on an external test set."""

import json
from typing import Any

from cnnstudy.config.schema import Params
from cnnstudy.evaluation import results
from cnnstudy.evaluation.intervals import Difference
from cnnstudy.workspace import paths


def read(name: str) -> dict[str, Any]:
    """Return the results on a set, see `cnnstudy.external.run.test_nets`; {} if there are none."""
    path = paths.external_metrics(name)
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content


def read_differences(name: str) -> dict[tuple[str, str], Difference]:
    """Return the differences between trainings on a set, by the names of the two trainings; {} if there are none."""
    path = paths.external_plots(name) / "differences.csv"
    if not path.is_file():
        return {}
    # Of a pair in several ablations the first counts, as for a study's own differences.
    return {(pair.first, pair.second): pair for pair in reversed(results.read_pairs(path))}


def of_run(params: Params, run: str, models: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the metrics of a run's last phase by set, as far as they are of these models (MD5 hash by phase)."""
    found = {}
    for name in params.external_of(params.all_runs[run].study):
        its = read(name).get("runs", {}).get(run, {})
        phase = params.phases(run)[-1]
        if phase in its and its[phase]["model_md5"] == models[phase]:
            found[name] = its[phase]
    return found
