"""Messages that say in one line what is wrong with a value of params.yaml."""

from typing import Any

from pydantic import ValidationError

from cnnstudy.config.schema import Params, Section


def explain(error: ValidationError) -> str:
    """Return what is wrong with the first value that the schema refuses: its key, the value, and what is allowed."""
    first = error.errors()[0]
    # A value of several types has the type that was tried at its end.
    location = [part for part in first["loc"] if part not in ("[key]", "bool", "int", "float", "str")]
    key = ".".join(map(str, location))
    if first["type"] == "missing":
        return f"{key}: missing; allowed: {_schema_words(location)}"
    if first["type"] == "extra_forbidden":
        keys = _section_at(location[:-1]).model_fields
        return f"{key}: {shown(first['input'])} found, an unknown key; allowed: {', '.join(keys)}"
    allowed = first["msg"].removeprefix("Input should be ").replace("String should", "a text that should")
    return f"{key}: {shown(first['input'])} found; allowed: {allowed}"


def shown(value: object) -> str:
    """A value on one line, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _section_at(location: list[Any]) -> type[Section]:
    """The section that `location`, a path of keys, leads to."""
    section: type[Section] = Params
    keys = iter(location)
    for key in keys:
        annotation = section.model_fields[key].annotation
        while not _is_section(annotation):
            next(keys)  # the entry's name in a dict of sections
            annotation = annotation.__args__[1]  # type: ignore[union-attr]
        section = annotation  # type: ignore[assignment]
    return section


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _schema_words(location: list[Any]) -> str:
    """Return what a missing key may hold, from the JSON schema of its section."""
    schema = _section_at(location[:-1]).model_json_schema()["properties"][location[-1]]
    words = ("enum", "type", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    return ", ".join(f"{word} {schema[word]}" for word in words if word in schema) or "a section of its own"
