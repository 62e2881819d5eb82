"""Configurations: frozen dataclasses whose types and ranges pydantic checks; errors are one sentence."""

from __future__ import annotations

import dataclasses
from functools import wraps
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

from diffagiqa.errors import ConfigError

T = TypeVar("T")
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@dataclass_transform(frozen_default=True)
def checked(cls: type[T]) -> type[T]:
    """A class -> the frozen dataclass of its annotated fields, checked when one is made.

    An int will do as a float, and nothing else as what it is not: no text as a number, no list as a
    tuple (but in JSON), no bool as an int. Ranges are ``Annotated`` with ``pydantic.Field``. What
    fields must fit together, the class checks in ``__post_init__``. Errors are ``ConfigError``.
    """
    made: Any = dataclass(frozen=True, config=_STRICT)(cls)
    validate = made.__init__

    @wraps(validate)
    def checked_init(self: Any, *args: Any, **values: Any) -> None:
        try:
            validate(self, *args, **values)
        except ValidationError as error:
            raise ConfigError(_sentence(made, error)) from None

    made.__init__ = checked_init
    return made  # type: ignore[no-any-return]


def from_json(cls: type[T], text: str, where: str) -> T:
    """A ``checked`` configuration from JSON; ``where`` names the text in errors.

    Raises:
        ConfigError: it is no valid JSON object, a key is unknown or missing, or a value is not as
            expected.
    """
    try:
        return TypeAdapter(cls).validate_json(text)
    except ValidationError as error:
        raise ConfigError(_sentence(cls, error, where)) from None


def _sentence(cls: Any, error: ValidationError, where: str = "") -> str:
    """The first fault, as: found, expected."""
    fault = error.errors()[0]
    path = list(fault["loc"])
    if path and isinstance(path[0], int):  # an argument without its name
        path[0] = dataclasses.fields(cls)[path[0]].name
    name = ".".join(map(str, path))
    expected = fault["msg"].removeprefix("Input should be ")
    if fault["type"] == "json_invalid":
        return f"{where} is not valid JSON ({expected.removeprefix('Invalid JSON: ')})"
    if fault["type"] == "unexpected_keyword_argument":
        known = ", ".join(field.name for field in dataclasses.fields(cls))
        return f"unknown configuration key {name}" + ("" if "." in name else f"; known are {known}")
    if fault["type"] in ("missing", "missing_argument"):
        return f"{cls.__name__} lacks {name}; name it in the configuration"
    if fault["type"] == "json_type":
        expected = "a text"
    if fault["type"] in ("too_short", "too_long"):
        most, limits = fault["type"] == "too_long", fault["ctx"]
        expected = f"at most {limits['max_length']}" if most else f"at least {limits['min_length']}"
        return f"{name} holds {len(fault['input'])}; expected {expected}"
    shown = repr(fault["input"])[:80]
    return (
        f"{name or where or cls.__name__} is {shown}; expected {expected[0].lower()}{expected[1:]}"
    )
