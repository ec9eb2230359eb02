"""Reading params.yaml."""

from pathlib import Path

from pydantic import ValidationError

from cnnstudy.config.checks import contradictions
from cnnstudy.config.messages import explain, shown, unknown_section
from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.workspace import files, paths


def read_params(path: Path = paths.PARAMS) -> Params:
    """Read and check a parameter file.

    Raises:
        UserError: a value is wrong; the message names the file, the key, the value and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `make params` writes it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not YAML: {error}") from None
    return parse_params(text, path)


def parse_params(text: str, path: Path) -> Params:
    """Parse and check the content of a parameter file.

    Raises:
        UserError: a value is wrong; the message names the file, the key, the value and what is allowed.
    """
    try:
        content = files.parse_settings(text)
    except files.SettingsError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        keys = ", ".join(Params.model_fields)
        raise UserError(f"{path}: {shown(content)} found; allowed: a mapping with the keys {keys}")
    if problem := unknown_section(content):
        raise UserError(f"{path}: {problem}")
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error)}") from None
    for key, value, allowed in contradictions(params):
        raise UserError(f"{path}: {key}: {shown(value)} found; allowed: {allowed}")
    return params
