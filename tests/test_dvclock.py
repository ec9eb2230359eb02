"""dvc.lock as this package reads and writes it, against DVC."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cnnstudy import dvclock
from cnnstudy.paths import LOCK

AWKWARD = [
    "1e3",
    "1.0",
    "on",
    "null",
    "~",
    "",
    "- a: b",
    "a # b",
    "'",
    '"',
    "12e4",
    "0x1",
    "2026-01-01",
    "\t\n",
    "a\nb\n",
    "a\n\nb",
    "é",
    "😀",
]
LONG = ["/a/path/without/spaces" * 5, "a plain sentence " * 6 + "ends", "x " * 80]
NUMBERS = [1e-8, 0.1, 1.0, 1e16, -0.0, 1, True, None]


@pytest.mark.parametrize(
    "content",
    [
        (Path(__file__).parents[1] / LOCK).read_text(encoding="utf-8"),
        {"schema": "2.0", "stages": {"b": {"cmd": AWKWARD, "outs": []}, "a": {"params": {"x": NUMBERS, "y": None}}}},
        *({"schema": "2.0", "stages": {"b": {"cmd": text, "outs": [text]}}} for text in (*AWKWARD, *LONG)),
        {"schema": "2.0", "stages": {text: {"cmd": "a"} for text in AWKWARD}},
        {"schema": "2.0", "stages": {"b": {"params": {"x": {"1": 1, "on": "1", "1.5": True}}}}},
        {"schema": "1.0", "stages": {"b": {"cmd": "a"}}},
        {"stages": {"b": {"cmd": "a"}}, "schema": "2.0"},
        {"schema": "2.0", "stages": {}},
        {},
    ],
    ids=lambda content: "as committed" if isinstance(content, str) else ascii(content)[:60],
)
def test_dvc_lock_is_written_as_dvc_writes_it(content: str | dict[str, Any], tmp_path: Path) -> None:
    """By a process of its own, in which DVC is hastened; a second one leaves DVC as it is."""
    (tmp_path / "content.json").write_text(json.dumps(content))
    hastened, plain = (rewritten(tmp_path, name) for name in ("hastened", "plain"))
    assert hastened == plain
    if isinstance(content, str):
        assert hastened.startswith(content[:1000])


REWRITE = """
import json, sys
from collections import OrderedDict
from dvc.utils.serialize import dump_yaml, modify_yaml
from cnnstudy.dvclock import hasten
if sys.argv[1] == "hastened":
    hasten()
content = json.load(open("content.json"))
path = sys.argv[1] + "/dvc.lock"
if isinstance(content, str):
    open(path, "w").write(content)
else:
    dump_yaml(path, content)
for _ in range(2):
    with modify_yaml(path) as found:
        found["stages"] = found.get("stages", {})
        found["stages"].update(OrderedDict(new=OrderedDict(cmd="python", deps=[OrderedDict(path="a", size=1)])))
"""


READ = """
import json, sys
from dvc.utils.serialize import load_yaml
from dvc.utils.strictyaml import load
from cnnstudy.dvclock import hasten
if sys.argv[1] == "hastened":
    hasten()
found = []
for read in (load_yaml, lambda path: load(path)[0]):
    try:
        found += [repr(read("dvc.lock")), repr(read("dvc.lock"))]
    except Exception as error:
        found.append(type(error).__name__)
open(sys.argv[1], "w").write(json.dumps(found))
"""
WHOLE = "schema: '2.0'\nstages:\n  b:\n    cmd: x\n    outs:\n    - path: y\n  a:\n    cmd: 1.0e-08\n"


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        WHOLE.replace("1.0e-08", "1"),
        WHOLE[:-3],
        WHOLE + "  c",
        WHOLE + "  c:\n",
        WHOLE + "  b:\n    cmd: twice\n",
        WHOLE + "datasets: []\n",
        WHOLE + "  c: [1,\n  2]\n",
        WHOLE + "  # a comment\n  c:\n    cmd: |\n      a\n      b\n",
        WHOLE.replace("cmd: x", "cmd: &one x").replace("1.0e-08", "*one"),
        WHOLE.replace("'2.0'", '"2.0"'),
        WHOLE.replace("  b:", "  'b':\t"),
        "",
        "schema: '2.0'\nstages:\n",
    ],
)
def test_dvc_lock_is_read_as_dvc_reads_it(text: str, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(text)
    for how in ("hastened", "plain"):
        run_python(tmp_path, READ, how)
    assert (tmp_path / "hastened").read_text() == (tmp_path / "plain").read_text()


def test_a_stage_that_stays_is_not_written_anew_not_even_one_that_somebody_has_edited(tmp_path: Path) -> None:
    text = WHOLE.replace("cmd: x", "cmd:    'x' # mine").replace("1.0e-08", "y")
    (tmp_path / LOCK).write_text(text)
    code = """
import sys
from dvc.utils.serialize import modify_yaml
from cnnstudy.dvclock import hasten
hasten()
for outs in ([{"path": "z"}], None)[: int(sys.argv[1])]:
    with modify_yaml("dvc.lock") as found:
        found["stages"]["a"].pop("outs", None)
        found["stages"]["a"] |= {"outs": outs} if outs else {}
"""
    run_python(tmp_path, code, "1")
    assert (tmp_path / LOCK).read_text() == text + "    outs:\n    - path: z\n"
    run_python(tmp_path, code, "2")
    assert (tmp_path / LOCK).read_text() == text


def test_what_is_read_again_is_as_in_the_file_whatever_was_done_with_the_first(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(WHOLE)
    code = """
from dvc.utils.serialize import load_yaml
from cnnstudy.dvclock import hasten
hasten()
load_yaml("dvc.lock")["stages"]["b"]["outs"].clear()
assert load_yaml("dvc.lock")["stages"]["b"]["outs"] == [{"path": "y"}]
"""
    run_python(tmp_path, code)


def test_so_is_other_yaml_and_one_that_is_none_is_told_of_by_name(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("a: {b: [1, 1e-3, on]}\n")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    code = """
import pytest
from dvc.utils.serialize import load_yaml
from dvc.utils.serialize._yaml import YAMLFileCorruptedError
from cnnstudy.dvclock import hasten
hasten()
load_yaml("params.yaml")["a"]["b"].clear()
assert load_yaml("params.yaml") == {"a": {"b": [1, 0.001, "on"]}}
assert load_yaml("empty.yaml") == {}
with pytest.raises(YAMLFileCorruptedError, match="broken.yaml"):
    load_yaml("broken.yaml")
"""
    run_python(tmp_path, code)


@pytest.mark.parametrize(
    ("lock", "left"),
    [
        (WHOLE + "  c:\n    cmd: z\n", dvclock.HEAD + "  c:\n    cmd: z\n"),
        (WHOLE[:-9], None),  # torn within a stage: what is left of it is no stage of the other
        (WHOLE, WHOLE),
    ],
)
def test_what_another_lock_has_too_is_left_out(lock: str, left: str | None) -> None:
    found = dvclock.without(lock, WHOLE)
    if left is None:
        assert found.startswith(dvclock.HEAD)
        assert lock.endswith(found.removeprefix(dvclock.HEAD))
        assert len(found) < len(lock)
    else:
        assert found == left


def rewritten(folder: Path, how: str) -> str:
    (folder / how).mkdir()
    run_python(folder, REWRITE, how)
    return (folder / how / LOCK).read_text(encoding="utf-8")


def run_python(folder: Path, code: str, *arguments: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, check=True, env=environment)


def test_other_files_of_dvc_are_left_to_it(tmp_path: Path) -> None:
    text = "# a comment that stays\nouts:\n- path: x\n"
    (tmp_path / "x.dvc").write_text(text)
    code = """
from dvc.utils.serialize import modify_yaml
from cnnstudy.dvclock import hasten
hasten()
with modify_yaml("x.dvc") as found:
    found["outs"][0]["path"] = "y"
"""
    run_python(tmp_path, code)
    assert (tmp_path / "x.dvc").read_text() == text.replace("path: x", "path: y")
