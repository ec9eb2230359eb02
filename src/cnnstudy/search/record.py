"""Searches in MLflow: a run for each in the experiment `search`, with a child run for each trial."""

from typing import TYPE_CHECKING, Any

from cnnstudy.search.trials import called
from cnnstudy.tracking import build
from cnnstudy.tracking.keys import text_md5
from cnnstudy.tracking.write import record_made

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from cnnstudy.search.trials import Search

EXPERIMENT = "search"
ABOUT = "A run for each `cnnstudy search`, with a child run for each trial; val decides which settings are best."
REMEDY = "the next `cnnstudy search` with these arguments records what is missing"
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


class Recorder:
    """Records a search as its trials end; stops after a failure of the store, so that there is only one warning."""

    def __init__(self, search: "Search") -> None:
        self.search = search
        self.is_up = True

    def __call__(self, study: "Study", trial: "FrozenTrial | None") -> None:
        """Record the search so far, and one trial of it, or all finished trials if none is given."""
        ended = [each for each in study.get_trials(deepcopy=False) if each.state.name in STATES]
        self._record(f"search {study.study_name}", search_record, study, ended)
        for each in [trial] if trial else ended:
            self._record(called(each), trial_record, study, each)

    def _record(self, name: str, make: Any, *arguments: Any) -> None:
        if self.is_up:
            self.is_up = record_made(lambda: make(self.search, *arguments), name, REMEDY)


def search_record(search: "Search", study: "Study", ended: "list[FrozenTrial]") -> build.Record:
    """Return the record of a search: the number of trials by outcome, and the best value so far."""
    states = [STATES[trial.state.name] for trial in ended]
    finals = {f"trials/{state}": float(states.count(state)) for state in STATES.values()}
    whole = [trial for trial in ended if trial.state.name == "COMPLETE"]
    if whole:
        best = max(whole, key=lambda trial: trial.value or 0.0)
        finals |= {"best/val_accuracy": best.user_attrs["accuracy"], "best/val_loss": best.user_attrs["loss"]}
    return build.Record(
        name=f"search: {search.run}",
        study=search.params.all_runs[search.run].study,
        key=_search_key(study),
        params={"run": search.run, "seed": str(search.seed)} | {each.key: str(each) for each in search.space},
        tags=_tags(search, study) | {"kind": "search"},
        finals=finals,
        series=[],
        artifacts={},
        data=build.data_of(search.params, search.params.all_runs[search.run].study),
        where=build.environment_tags(),
        sentence=_sentence(search, finals, len(ended)),
        experiment=EXPERIMENT,
        about=ABOUT,
    )


def trial_record(search: "Search", study: "Study", trial: "FrozenTrial") -> build.Record:
    """Return the record of a trial: its values, its accuracy on val by epoch, and its end.

    `val_accuracy` and `val_loss` without a phase are what the trial was judged by.
    """
    state = STATES[trial.state.name]
    attributes = trial.user_attrs
    finals = {f"val_{name}": attributes[name] for name in ("accuracy", "loss") if name in attributes}
    if trial.value is not None:
        finals["value"] = trial.value
    if trial.duration is not None:
        finals["seconds"] = trial.duration.total_seconds()
    return build.Record(
        name=called(trial),
        study=search.params.all_runs[search.run].study,
        key=text_md5(f"trial {trial.number} of {_search_key(study)}"),
        params={name: str(value) for name, value in trial.params.items()},
        tags=_tags(search, study)
        | {"kind": "trial", "trial": str(trial.number + 1), "state": state}
        | {name: attributes[name] for name in ("reason",) if name in attributes},
        finals=finals,
        series=[
            (f"epoch/{name}", float(value), int(row["epoch"]))
            for row in attributes.get("rows", [])
            for name, value in row.items()
            if name != "epoch"
        ],
        artifacts={},
        data=build.data_of(search.params, search.params.all_runs[search.run].study),
        where=build.environment_tags(),
        parent=_search_key(study),
        experiment=EXPERIMENT,
        status="FAILED" if state == "failed" else "FINISHED",
    )


def _sentence(search: "Search", finals: dict[str, float], trials: int) -> str:
    best = f"; the best has accuracy {finals['best/val_accuracy']:.3f} on val" if "best/val_accuracy" in finals else ""
    return f"{trials} trials of settings for {search.run}{best}."


def _search_key(study: "Study") -> str:
    return text_md5(f"search {study.study_name}")


def _tags(search: "Search", study: "Study") -> dict[str, str]:
    settings = search.params.all_runs[search.run]
    tags = {"search": study.study_name, "run": search.run, "study": settings.study, "net": settings.net}
    return tags | {name: getattr(search.params, name) for name in ("profile", "recipe")}
