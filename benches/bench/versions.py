"""Versions of what is measured, read from what is installed."""

import importlib.metadata
import json
import os
import pathlib
import re

PREFIX = pathlib.Path(os.environ["PGQUEUE_PREFIX"])
NODE = PREFIX / "bench/node_modules"


def of_extension(name):
    """What CREATE EXTENSION installs."""
    control = PREFIX / f"usr/share/postgresql/{os.environ['PG_MAJOR']}/extension/{name}.control"
    return re.search(r"^default_version\s*=\s*'(.*)'", control.read_text(), re.MULTILINE)[1]


def of_npm(name):
    return json.loads((NODE / name / "package.json").read_text())["version"]


def of_pypi(name):
    return importlib.metadata.version(name)
