"""One-line messages on wrong values of params.yaml."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from cnnstudy.config.schema import Params, Section

# Parts of pydantic's error locations that are not keys.
TRIED = ("[key]", "bool", "int", "float", "str", "constrained-int", "constrained-str")


def explain(error: ValidationError) -> str:
    """Return a message on the first value that the schema refuses: its key, the value, and the allowed values."""
    errors = error.errors()
    # A misspelt key is also missing under its right name; the misspelling is the better message.
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    # Where several types are allowed, the location ends with the type that was tried.
    location = [part for part in first["loc"] if part not in TRIED]
    key = ".".join(map(str, location))
    if first["type"] == "missing":
        return f"{key}: missing; allowed: {_schema_words(location)}"
    if first["type"] == "extra_forbidden":
        if new := new_name(key):
            return f"{key}: {shown(first['input'])} found, an old name; allowed: {new}"
        keys = _section_at(location[:-1]).model_fields
        likely = nearest(str(location[-1]), keys)
        return f"{key}: {shown(first['input'])} found, an unknown key; allowed: {', '.join(keys)}{likely}"
    allowed = first["msg"].removeprefix("Input should be ").replace("String should", "a text that should")
    return f"{key}: {shown(first['input'])} found; allowed: {allowed}"


# Keys of version 0.1, as patterns, and their new names.
RENAMED = (
    (r"training\.([^.]+)\.kernel_factor", r"studies.\1.training.relative_update"),
    (r"training\.([^.]+)(?=\.|$)", r"studies.\1.training"),
    (r"sources\.([^.]+)(?=\.|$)", r"studies.\1.source"),
    (r"plans\.([^.]+)(?=\.|$)", r"studies.\1.policies"),
    (r"promotion\.minimum\.([^.]+)", r"studies.\1.promotion.minimum"),
    (r"runs\.([^.]+)\.(depth|widths)", r"runs.\1.options.\2"),
    (r"runs\.([^.]+)\.head_dropout", r"runs.\1.training.head_dropout"),
    (r"(runs|finetuned)\.([^.]+)\.plan", r"\1.\2.policy"),
    (r"([a-z]+)\.tuned_(epochs|learning_rate|frozen)", r"studies.\1.finetune.\2"),
    (r"([a-z]+)\.drawn(?=\.|$)", r"studies.\1.synthetic"),
    (r"([a-z]+)\.widths", r"studies.\1.options.widths"),
    (r"([a-z]+)\.(image_size|classes|split|batch_size|epochs|class_weight)(?=\.|$)", r"studies.\1.\2"),
)


# Whole sections of version 0.1.
MOVED = {
    "model": "models",
    "training": "studies.<study>.training",
    "sources": "studies.<study>.source",
    "plans": "studies.<study>.policies",
    "promotion": "studies.<study>.promotion",
}


def unknown_section(content: dict[str, Any]) -> str:
    """Return a message on the first unknown top-level key; '' if there is none."""
    for key, value in content.items():
        if key in Params.model_fields or str(key).endswith("_data"):
            continue
        studies = content.get("studies")
        moved = f"studies.{key}" if isinstance(studies, dict) and key in studies else MOVED.get(key)
        if moved:
            return f"{key}: {shown(value)} found, an old name; allowed: {moved}"
        allowed = f"{', '.join(Params.model_fields)}{nearest(str(key), Params.model_fields)}"
        return f"{key}: {shown(value)} found, an unknown key; allowed: {allowed}"
    return ""


def new_name(key: str) -> str:
    """Return the new name of a dotted key of an earlier version; '' for any other key."""
    for old, new in RENAMED:
        if found := re.match(old, key):
            return found.expand(new) + key[found.end() :]
    return ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; nearest: <the name in `known` most like the given one>`, or '' if none is similar enough.

    If no name is like a whole dotted name, its last part is compared, since a user may leave out the sections before.
    """
    known = sorted(known)
    found = get_close_matches(name, known, n=1, cutoff=0.75)
    if not found:
        ends = {key: key.rpartition(".")[2] for key in known}
        for end in get_close_matches(name.rpartition(".")[2], set(ends.values()), n=1, cutoff=0.75):
            found = get_close_matches(name, [key for key in known if ends[key] == end], n=1, cutoff=0)
    return f"; nearest: {found[0]}" if found else ""


def shown(value: object) -> str:
    """Return a value on one line, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _section_at(location: list[Any]) -> type[Section]:
    """Return the section that `location`, a path of keys, leads to."""
    section: type[Section] = Params
    keys = iter(location)
    for key in keys:
        annotation = section.model_fields[key].annotation
        while not _is_section(annotation):
            if get_origin(annotation) is dict:
                next(keys)  # the entry's name in a dict of sections
            annotation = next(each for each in reversed(get_args(annotation)) if each is not type(None))
        section = annotation  # type: ignore[assignment]
    return section


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _schema_words(location: list[Any]) -> str:
    """Return a description of a missing key's allowed values, from the JSON schema of its section."""
    schema = _section_at(location[:-1]).model_json_schema()["properties"][location[-1]]
    words = ("enum", "type", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    return ", ".join(f"{word} {schema[word]}" for word in words if word in schema) or "a section of its own"
