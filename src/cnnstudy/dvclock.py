"""DVC's files, read once: of dvc.lock only what a stage has changed passes through YAML, and that in C.

Several times a stage DVC reads or writes all of it: with fifty stages about half of the time that DVC itself takes.
So it does with dvc.yaml and params.yaml.
"""

import re
from collections import OrderedDict
from copy import deepcopy
from functools import cache, lru_cache
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

from cnnstudy import paths

# From this length on lines of YAML may be folded, by one writer in another place than by the other.
FOLDED = 80
# What DVC begins the file with; a stage begins with its name, and ends before the next one's.
HEAD = "schema: '2.0'\nstages:\n"
STAGE = re.compile(r"^(?=  \S)", re.MULTILINE)
# What follows the stages.
OTHER = re.compile(r"^\S", re.MULTILINE)
# The text of a stage as it was read or written, by its content as Python writes it.
_texts: dict[str, str] = {}


@cache  # the second time it would hasten itself
def hasten() -> None:
    """Have this process's DVC read YAML and write dvc.lock by this module.

    After every stage DVC rewrites all of it by ruamel.yaml's round trip, in Python, which keeps comments; dvc.lock has
    none. What is written is the same; what might not be is left to DVC.
    """
    from dvc.utils import strictyaml
    from dvc.utils.serialize import _yaml

    parse_slowly, update_slowly, dump_slowly = _yaml.parse_yaml, _yaml.parse_yaml_for_update, _yaml._dump

    def parse(text: str, path: str, typ: str = "safe") -> Any:
        if typ != "safe":
            return parse_slowly(text, path, typ)
        found = (_parsed_by_stage if Path(path).name == paths.LOCK.name else _parsed)(text)
        return found or parse_slowly(text, path, typ)

    def update(text: str, path: str) -> Any:
        return parse(text, path) if Path(path).name == paths.LOCK.name else update_slowly(text, path)

    def dump(content: Any, stream: TextIO) -> None:
        # What the round trip has read has a class of its own, for comments.
        text = _dumped_by_stage(content) if type(content) is dict else ""
        if text:
            stream.write(text)
        else:
            dump_slowly(content, stream)

    _yaml.parse_yaml = strictyaml.parse_yaml = parse
    _yaml.parse_yaml_for_update, _yaml._dump = update, dump


def know() -> None:
    """Read what DVC will, so that this process and its forks know it."""
    for file in (Path("dvc.yaml"), paths.PARAMS, paths.LOCK):
        text = file.read_text(encoding="utf-8")
        (_parsed_by_stage if file == paths.LOCK else _parsed)(text)


def without(lock: str, known: str) -> str:
    """A dvc.lock's text without the stages that another has too, letter for letter; as it is where it has no others."""
    head, *blocks = STAGE.split(lock)
    new = set(blocks).difference(STAGE.split(known))
    return "".join([head, *(block for block in blocks if block in new)]) if new else lock


def _parsed(text: str) -> Any:
    """What YAML says; None where the text is none."""
    from ruamel.yaml import YAMLError

    try:
        return deepcopy(_read(text))  # DVC changes it in place
    except YAMLError:
        return None


@lru_cache(maxsize=16)
def _read(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


def _parsed_by_stage(text: str) -> dict[str, Any] | None:
    """dvc.lock's content; None where it is not one stage after another, each a mapping that stands by itself.

    Without a line's end at its end it is torn.
    """
    head, *blocks = STAGE.split(text)
    if not blocks or head != HEAD or not text.endswith("\n") or any(map(OTHER.search, blocks)):
        return None
    stages: dict[str, Any] = {}
    for block in blocks:
        stage = _stage(block)
        if stage is None or not stages.keys().isdisjoint(stage):
            return None
        stages |= deepcopy(stage)  # DVC changes it in place
    return {"schema": "2.0", "stages": stages}


@lru_cache(maxsize=4096)
def _stage(block: str) -> dict[str, Any] | None:
    """{name: entry} of a stage's text; None where YAML finds something else or nothing."""
    from ruamel.yaml import YAML, YAMLError

    try:
        found = YAML(typ="safe").load(block)
    except YAMLError:
        return None
    if not (isinstance(found, dict) and len(found) == 1):
        return None
    _texts[repr(found)] = block
    return found


def _dumped_by_stage(content: dict[str, Any]) -> str:
    """The file that DVC would write; '' where that is not sure."""
    if list(content) != ["schema", "stages"] or content["schema"] != "2.0" or not content["stages"]:
        return ""
    blocks = [_text({name: entry}) for name, entry in content["stages"].items()]
    return HEAD + "".join(blocks) if all(blocks) else ""


def _text(stage: dict[str, Any]) -> str:
    """The text of {name: entry}; '' where DVC's might be another."""
    from ruamel.yaml.representer import RepresenterError

    key = repr(stage)
    if key not in _texts:
        try:
            text = _dumped({"stages": stage}).removeprefix("stages:\n")
        except RepresenterError:  # what only the round trip can write
            text = ""
        is_sure = text.isascii() and not any(map(_is_unsure, text.splitlines()))
        _texts[key] = text if is_sure else ""
    return _texts[key]


def _is_unsure(line: str) -> bool:
    """Whether the round trip may write a line otherwise: folded, joined, quoted or without a space at its end."""
    return len(line) >= FOLDED or '"' in line or "''" in line or line.endswith(" ") or not line.strip()


def _dumped(content: dict[str, Any]) -> str:
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import SafeRepresenter

    class Representer(SafeRepresenter):
        """As the round trip has it."""

    Representer.add_representer(OrderedDict, SafeRepresenter.represent_dict)
    Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", ""))
    yaml, stream = YAML(typ="safe"), StringIO()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.Representer = Representer
    yaml.dump(content, stream)
    return stream.getvalue()
