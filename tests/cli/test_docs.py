"""The pages of the command describe every option."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from colorcv.cli.parser import COMMANDS, make_parser

DOCS = Path(__file__).parents[2] / "docs" / "command"


def subparser(command: str) -> argparse.ArgumentParser:
    (action,) = [
        action
        for action in make_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return action.choices[command]


@pytest.mark.parametrize("command", COMMANDS)
def test_page_lists_the_options_of_its_subcommand(command: str) -> None:
    page = (DOCS / f"{command}.rst").read_text(encoding="utf-8")
    described = set(re.findall(r"``(--?[a-z-]+)\b", page))
    options = {name for action in subparser(command)._actions for name in action.option_strings}
    assert described == options - {"-h", "--help"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_printed_and_has_no_python(command: str) -> None:
    text = subparser(command).format_help()
    assert "=True" not in text
    assert 'model="' not in text
