"""Parses YAML that people write and YAML that DVC writes."""

import copy
from functools import lru_cache
from typing import Any

import yaml

# libyaml's parser, where PyYAML has it, takes a seventh of the time. But lists that are nested tens
# of thousands deep overrun its stack, which ends the process without a message.
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> Any:
    """The document in `text`, which people may have written; the caller may change it.

    A text that was parsed before in this process is not parsed again, since a stage looks up
    parameters and its own entry of dvc.yaml many times.

    Raises:
        yaml.YAMLError: it is not YAML.
        Exception: what a value such as 2020-99-99 makes Python raise.
    """
    return copy.deepcopy(_parsed(text))


@lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    return yaml.safe_load(text)


def parse_lock(text: str) -> Any:
    """The document in a dvc.lock, thousands of lines that DVC wrote.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    loader = _FAST(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
