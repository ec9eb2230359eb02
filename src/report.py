"""Stage report: the headline numbers, and one page with everything."""

import json

from cnnstudy import paths
from cnnstudy.errors import run_stage
from cnnstudy.params import read_params
from cnnstudy.report import page, reference, results


def main() -> None:
    """Write metrics/summary.json and report/index.html."""
    params = read_params()
    metrics = results.read_metrics(params)
    paths.SUMMARY.parent.mkdir(parents=True, exist_ok=True)
    paths.SUMMARY.write_text(json.dumps(results.summary(params, metrics), indent=2) + "\n", encoding="utf-8")
    paths.REPORT.parent.mkdir(parents=True, exist_ok=True)
    paths.REPORT.write_text(page.render(params, metrics, reference.read(paths.REFERENCE)), encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
