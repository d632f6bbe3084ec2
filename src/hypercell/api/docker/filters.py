# SPDX-License-Identifier: Apache-2.0
"""The `filters` of lists, prunes and events: JSON, `{"label": {"a=b": true}}` or the older `{"label": ["a=b"]}`."""

from __future__ import annotations

from collections.abc import Mapping

from hypercell.api.docker.documents import load_json
from hypercell.api.docker.patterns import Pattern
from hypercell.base.errors import InvalidArgument

_MAX_VALUES = 1000


class Filters:
    """Values per key. Within a key one match is enough (labels: all must match); all keys must match."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values
        self._patterns: dict[str, list[Pattern]] = {}

    @classmethod
    def parse(cls, text: str, accepted: frozenset[str]) -> Filters:
        """Raises `InvalidArgument` for malformed JSON and for keys that are not *accepted*."""
        if not text:
            return cls({})
        try:
            document = load_json(text.encode(), "filters")
        except InvalidArgument as error:
            raise InvalidArgument("invalid filter", error.message) from None
        if document is None:
            return cls({})
        if not isinstance(document, dict):
            raise InvalidArgument("invalid filter")
        parsed = {key: _values(value) for key, value in document.items()}
        for key in parsed:
            if key not in accepted:
                raise InvalidArgument(f"invalid filter '{key[:100]}'")
        return cls(parsed)

    def __bool__(self) -> bool:
        return bool(self._values)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str) -> list[str]:
        return self._values.get(key, [])

    def exact(self, key: str, *candidates: str) -> bool:
        """True without values for *key*, or when one of them is one of the *candidates*."""
        values = self.get(key)
        return not values or any(candidate in values for candidate in candidates)

    def prefixed(self, key: str, *candidates: str) -> bool:
        """As `exact`, a value that is the start of a candidate included."""
        values = self.get(key)
        return not values or any(candidate.startswith(value) for value in values for candidate in candidates)

    def matches(self, key: str, *candidates: str) -> bool:
        """As `exact`, a value being a regular expression that is searched for. Raises `InvalidArgument`."""
        if self.exact(key, *candidates):
            return True
        if key not in self._patterns:
            self._patterns[key] = [_pattern(key, value) for value in self.get(key)]
        return any(pattern.search(candidate) for pattern in self._patterns[key] for candidate in candidates)

    def labels(self, labels: Mapping[str, str], key: str = "label") -> bool:
        """True when *labels* has every `name` or `name=value`."""
        for value in self.get(key):
            name, equals, wanted = value.partition("=")
            if name not in labels or (equals and labels[name] != wanted):
                return False
        return True

    def keeps_labels(self, labels: Mapping[str, str]) -> bool:
        """For prunes: passes `label`, and not `label!`."""
        return self.labels(labels) and not ("label!" in self and self.labels(labels, "label!"))

    def flag(self, key: str, default: bool) -> bool:
        """A truth value. Raises `InvalidArgument`."""
        if key not in self:
            return default
        values = set(self.get(key))
        true, false = bool(values & {"1", "true"}), bool(values & {"0", "false"})
        if true == false:
            shown = f"=[{' '.join(sorted(values))[:100]}]" if values else ""
            raise InvalidArgument(f"invalid filter '{key}{shown}'")
        return true


def _values(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, dict):
        if not all(isinstance(flag, bool) for flag in value.values()):
            raise InvalidArgument("invalid filter")
        chosen = [name for name, flag in value.items() if flag]
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        chosen = value
    else:
        raise InvalidArgument("invalid filter")
    if len(chosen) > _MAX_VALUES:
        raise InvalidArgument("too many filter values")
    return chosen


def _pattern(key: str, text: str) -> Pattern:
    try:
        return Pattern(text)
    except ValueError as error:
        raise InvalidArgument(f"invalid filter '{key}={text[:100]}': {error}") from None
