"""Refused promotions: one line names the file, the value and what is allowed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from serving import promotable
from tracking.finished_runs import write_metrics

from cnnstudy import trained
from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.evaluation.run import evaluate_run
from cnnstudy.serving import choice
from cnnstudy.serving.gate import pass_gate
from cnnstudy.workspace import paths

RUNS = ("alexnet", "xray-aug4")


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    return promotable.make(RUNS, has_nets=False)


def test_a_good_net_passes_with_the_accuracy_of_its_own_seed(params: Params) -> None:
    for run in RUNS:
        assert pass_gate(params, choice.choose(params, run)) == ("accuracy", 0.9)
        assert pass_gate(params, choice.choose(params, run, seed=7)) == ("accuracy", 0.8)


def test_a_gap_of_a_subgroup_may_be_limited(params: Params) -> None:
    gap = promotable.GOOD | {"subgroup_gap": 0.12}
    write_metrics(params, "alexnet", gap)
    promotable.write_lock(params)
    picked = choice.choose(params, "alexnet")
    assert pass_gate(params, picked) == ("accuracy", 0.9)
    study = params.studies["faces"]
    for most, passes in ((0.12, True), (0.1, False)):
        promotion = study.promotion.model_copy(update={"maximum_gap": most})
        limited = params.model_copy(
            update={"studies": params.studies | {"faces": study.model_copy(update={"promotion": promotion})}}
        )
        if passes:
            pass_gate(limited, picked)
        else:
            words = (
                r"subgroup_gap: 0\.120 found; allowed: at most 0\.1 \(studies\.faces\.promotion\.maximum_gap in params"
            )
            with pytest.raises(UserError, match=words):
                pass_gate(limited, picked)


def worse(params: Params) -> None:
    write_metrics(params, "alexnet", promotable.GOOD | {"accuracy_seeds": [0.25, 0.8]})
    promotable.write_lock(params)


def constant(params: Params) -> None:
    content = json.loads(paths.run_metrics("alexnet").read_text())
    content["tuned"]["tune"]["constant"] = True
    paths.run_metrics("alexnet").write_text(json.dumps(content))
    promotable.write_lock(params)


def severe(params: Params) -> None:
    promotable.write_findings("faces", "leak", "severe")
    promotable.write_lock(params)


def trained_again(params: Params) -> None:
    (paths.phase("alexnet", "base") / "own").write_text("new")


def evaluated_by_hand(params: Params) -> None:
    paths.run_metrics("alexnet").write_text(paths.run_metrics("alexnet").read_text() + "\n")


def never_rebuilt(params: Params) -> None:
    paths.LOCK.unlink()


def other(stage: str, path: Path) -> Callable[[Params], None]:
    """A lock in which a stage read another version of a file."""

    def spoil(params: Params) -> None:
        content = yaml.safe_load(paths.LOCK.read_text())
        (entry,) = (each for each in content["stages"][stage]["deps"] if each["path"] == path.as_posix())
        entry["md5"] = "0" * 32
        paths.LOCK.write_text(yaml.safe_dump(content))

    return spoil


def audited_by_hand(params: Params) -> None:
    paths.audit("faces").write_text(paths.audit("faces").read_text() + "\n")


def with_other_parameters(params: Params) -> None:
    content = yaml.safe_load(paths.LOCK.read_text())
    content["stages"]["evaluate@alexnet"]["params"] = {"params.yaml": {"batchnorm": "moving", "seeds": [0, 7]}}
    paths.LOCK.write_text(yaml.safe_dump(content))


def without(path: Path) -> Callable[[Params], None]:
    return lambda params: path.unlink()


@pytest.mark.parametrize(
    ("spoil", "found", "allowed"),
    [
        (
            worse,
            "metrics/runs/alexnet.json: tuned.test.accuracy_seeds: 0.250 of seed 0 found",
            "at least 0.6 (studies.faces.promotion.minimum in params.yaml)",
        ),
        (constant, "metrics/runs/alexnet.json: tuned.tune.constant: true found", "more than one class predicted"),
        (severe, "metrics/audit/faces.json: leak: some leak found", "nothing severe"),
        (trained_again, "models/alexnet: not what dvc.lock has for evaluate@alexnet", "`cnnstudy repro"),
        (evaluated_by_hand, "metrics/runs/alexnet.json: not what dvc.lock has for evaluate@alexnet", "`cnnstudy repro"),
        (never_rebuilt, "models/alexnet: not what dvc.lock has for evaluate@alexnet", "`cnnstudy repro"),
        (
            other("finetune@alexnet", paths.phase("alexnet", "base")),
            "dvc.lock: models/alexnet/base is not the same for train@alexnet, finetune@alexnet",
            "repro",
        ),
        (audited_by_hand, "metrics/audit/faces.json: not what dvc.lock has for audit@faces", "repro"),
        (
            with_other_parameters,
            "params.yaml: batchnorm: recalibrated found",
            "moving, with which evaluate@alexnet was run, or what `cnnstudy repro evaluate@alexnet",
        ),
        (
            other("audit@faces", paths.splits("faces")),
            "dvc.lock: data/faces/splits.csv is not the same for split@faces, audit@faces",
            "repro",
        ),
        (without(paths.run_metrics("alexnet")), "metrics/runs/alexnet.json: no such file", "repro evaluate@alexnet"),
        (without(paths.audit("faces")), "metrics/audit/faces.json: no such file", "repro audit@faces"),
        (
            without(paths.weights(paths.seed("alexnet", "tuned", 0))),
            "models/alexnet/tuned/seed0/model.weights.h5: no such file",
            "repro evaluate@alexnet",
        ),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(params: Params, spoil: Callable[[Params], None], found: str, allowed: str) -> None:
    spoil(params)
    with pytest.raises(UserError) as caught:
        pass_gate(params, choice.choose(params, "alexnet"))
    said = str(caught.value)
    assert said.startswith(found)
    assert allowed in said.partition("; allowed: ")[2]
    assert "\n" not in said


def test_an_accuracy_of_the_least_that_is_allowed_passes(params: Params) -> None:
    write_metrics(params, "alexnet", promotable.GOOD | {"accuracy_seeds": [0.6, 0.8]})
    promotable.write_lock(params)
    assert pass_gate(params, choice.choose(params, "alexnet")) == ("accuracy", 0.6)


def test_parameters_are_read_from_the_lock_as_dvc_writes_them(params: Params) -> None:
    content = yaml.safe_load(paths.LOCK.read_text())
    study = params.studies["xray"]
    training = study.training.model_copy(update={"epsilon": 1e-08})
    content["stages"]["train@xray-aug4"]["params"] = {
        "params.yaml": {"studies.xray.training": training.model_dump(exclude_unset=True) | {"epsilon": 12345}}
    }
    paths.LOCK.write_text(yaml.safe_dump(content).replace("12345", "1e-08"))
    assert trained.changed(params, "xray-aug4").startswith("params.yaml: studies.xray.training.epsilon: 0.001 found")
    small = params.model_copy(update={"studies": {"xray": study.model_copy(update={"training": training})}})
    assert trained.changed(small, "xray-aug4") == ""


def test_a_parameter_that_a_section_had_no_value_of_and_another_policy_are_changes(params: Params) -> None:
    content = yaml.safe_load(paths.LOCK.read_text())
    run = params.runs["xray-aug4"].model_dump(exclude_none=True, exclude_unset=True)
    xray = params.studies["xray"].model_dump(exclude_unset=True)
    policies = xray["policies"]  # without ranges that params.yaml does not name
    content["stages"]["train@xray-aug4"]["params"] = {"params.yaml": {"runs.xray-aug4": run}}
    augmented = {"params.yaml": {"studies.xray.policies": policies}}
    content["stages"]["augment@xray"] = {"cmd": "run augment@xray", "params": augmented}
    paths.LOCK.write_text(yaml.safe_dump(content))
    assert trained.changed(params, "xray-aug4") == ""
    smaller = params.runs["xray-aug4"].model_copy(update={"training": {"batch_size": 4}})
    other = params.model_copy(update={"runs": {**params.runs, "xray-aug4": smaller}})
    assert trained.changed(other, "xray-aug4").startswith(
        "params.yaml: runs.xray-aug4.training.batch_size: 4 found; allowed: None"
    )
    turned = params.policy_of("xray-aug4").model_copy(update={"rotation": 90})
    study = params.studies["xray"]
    study = study.model_copy(update={"policies": {**study.policies, "aug4": turned}})
    other = params.model_copy(update={"studies": {**params.studies, "xray": study}})
    assert trained.changed(other, "xray-aug4").startswith(
        "params.yaml: studies.xray.policies.aug4.rotation: 90 found; allowed: 0"
    )


def test_classes_in_another_order_than_in_training_are_refused(params: Params) -> None:
    turned = params.studies["xray"].model_copy(
        update={"classes": dict(reversed(params.studies["xray"].classes.items()))}
    )
    other = params.model_copy(update={"studies": {**params.studies, "xray": turned}})
    allowed = "the order that the net was trained with, normal, covid"
    said = f"params.yaml: studies.xray.classes: covid, normal found; allowed: {allowed}"
    for use in (
        lambda: pass_gate(other, choice.choose(other, "xray-aug4")),
        lambda: trained.classes(other, "xray-aug4"),
    ):
        with pytest.raises(UserError, match=f"^{said}$"):
            use()
    with pytest.raises(UserError, match=f"^{said}$"):
        evaluate_run(other, "xray-aug4")


def test_a_net_of_another_size_than_the_parameters_is_not_opened(params: Params) -> None:
    content = yaml.safe_load(paths.LOCK.read_text())
    content["stages"]["ingest@faces"]["params"] = {"params.yaml": {"studies.faces.image_size": 96, "data_seed": 5}}
    paths.LOCK.write_text(yaml.safe_dump(content))
    said = "params.yaml: studies.faces.image_size: 32 found; allowed: 96, with which ingest@faces was run; `cnnstudy"
    with pytest.raises(UserError, match=f"^{said}"):
        trained.load(params, "alexnet")


def test_weights_that_are_broken_are_named(params: Params) -> None:
    with pytest.raises(UserError, match=r"^models/alexnet/tuned/seed0/model.weights.h5: .*`dvc checkout`"):
        trained.load(params, "alexnet")


def test_another_phase_seed_or_run_is_said_or_refused(params: Params) -> None:
    assert str(choice.choose(params, "alexnet")) == "alexnet, tuned, seed 0"
    assert str(choice.choose(params, "alexnet", "base", 7)) == "alexnet, base, seed 7"
    assert str(choice.choose(params, "xray-aug4")) == "xray-aug4, base, seed 0"
    for arguments, said in (
        (("vggnet", None, None), "RUN: 'vggnet' found; allowed: alexnet, xray-aug4"),
        (("xray-aug4", "tuned", None), "--phase: 'tuned' found; allowed: base"),
        (("alexnet", None, 3), "--seed: 3 found; allowed: 0, 7"),
    ):
        with pytest.raises(UserError, match=f"^{said}$"):
            choice.choose(params, *arguments)


def test_a_severe_finding_that_was_looked_at_does_not_stand_in_the_way(params: Params) -> None:
    severe(params)
    study = params.studies["faces"]
    for accepted, passes in ((["leak"], True), (["shortcut"], False)):
        promotion = study.promotion.model_copy(update={"accepted": accepted})
        faces = study.model_copy(update={"promotion": promotion})
        looked_at = params.model_copy(update={"studies": params.studies | {"faces": faces}})
        if passes:
            assert pass_gate(looked_at, choice.choose(looked_at, "alexnet")) == ("accuracy", 0.9)
        else:
            with pytest.raises(UserError, match=r"leak: some leak found; .*studies\.faces\.promotion\.accepted"):
                pass_gate(looked_at, choice.choose(looked_at, "alexnet"))
