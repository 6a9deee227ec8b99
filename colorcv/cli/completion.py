"""Completion scripts for bash, zsh and fish, generated from the argument parser."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

__all__ = ["SHELLS", "PrintCompletion", "completion_script"]

SHELLS = ("bash", "zsh", "fish")

# Values of options that are free strings in the parser. Importing the packages that define them
# would slow --help down, so they are repeated here; a test compares the two.
_VALUES = {
    "model": ("zhang2016", "lite"),
    "device": ("auto", "cpu", "cuda", "cuda-fp16", "opencl", "opencl-fp16"),
    "codec": ("auto", "h264", "hevc", "vp9", "av1", "ffv1"),
}
_FILES = ("inputs", "input", "output", "hints", "reference", "onnx")


class PrintCompletion(argparse.Action):
    """The option ``--print-completion SHELL``: print the script and exit, as --version does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> NoReturn:
        """Print the script of the shell `values`."""
        sys.stdout.write(completion_script(parser, str(values)) + "\n")
        parser.exit()


@dataclass(frozen=True)
class _Argument:
    """An option or a positional argument, reduced to what the scripts use."""

    flags: tuple[str, ...]  # empty if positional
    help: str
    has_value: bool
    values: tuple[str, ...]
    is_file: bool


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return a script that completes subcommands, options, their values and file names.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The parser of the whole command.
    shell : {"bash", "zsh", "fish"}

    Returns
    -------
    str
        The script, without a newline at its end.
    """
    generate = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return "\n".join(generate("colorcv", _arguments(parser), _subcommands(parser)))


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, tuple[str, list[_Argument]]]:
    """Return the help text and the arguments of each subcommand."""
    (action,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return {
        choice.dest: (_summary(choice), _arguments(action.choices[choice.dest]))
        for choice in action._choices_actions
    }


def _arguments(parser: argparse.ArgumentParser) -> list[_Argument]:
    return [
        _Argument(
            flags=tuple(action.option_strings),
            help=_summary(action),
            has_value=action.nargs != 0,
            values=tuple(str(choice) for choice in action.choices or _VALUES.get(action.dest, ())),
            is_file=action.dest in _FILES,
        )
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction)
    ]


def _summary(action: argparse.Action) -> str:
    """Return the help text up to a semicolon, without parentheses."""
    return re.sub(r" \([^)]*\)", "", action.help or "").split(";")[0]


_Subcommands = dict[str, tuple[str, list[_Argument]]]


def _bash(program: str, options: list[_Argument], subcommands: _Subcommands) -> Iterator[str]:
    yield f"# bash completion of {program}"
    yield f"_{program}() {{"
    yield "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}"
    yield "    # --option=value arrives as three words"
    yield "    if [[ $cur == = ]]; then cur=''"
    yield "    elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi"
    yield "    local words=''"
    yield "    if (( COMP_CWORD == 1 )); then"
    yield f"        words={shlex.quote(' '.join([*subcommands, *_flags(options)]))}"
    yield "    else"
    yield '        case "${COMP_WORDS[1]} $prev" in'
    for flag, values in _flag_values(options):
        yield f'            "{flag} {flag}") words={shlex.quote(" ".join(values))} ;;'
    for name, (_, arguments) in subcommands.items():
        for argument in arguments:
            if not argument.flags or not argument.has_value:
                continue
            patterns = "|".join(f'"{name} {flag}"' for flag in argument.flags)
            if argument.is_file:
                yield f"            {patterns}) return ;;"
            elif argument.values:
                yield f"            {patterns}) words={shlex.quote(' '.join(argument.values))} ;;"
            else:
                yield f"            {patterns}) compopt +o default; return ;;"
        yield f'            "{name} "*)'
        yield "                if [[ $cur == -* ]]; then"
        yield f"                    words={shlex.quote(' '.join(_flags(arguments)))}"
        for argument in arguments:
            if not argument.flags and argument.values:
                yield "                else"
                yield f"                    words={shlex.quote(' '.join(argument.values))}"
        yield "                fi ;;"
    yield "        esac"
    yield "    fi"
    yield "    # without words, bash completes file names"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$cur"))'
    yield "}"
    yield f"complete -o bashdefault -o default -F _{program} {program}"


def _flags(arguments: list[_Argument]) -> list[str]:
    return [flag for argument in arguments for flag in argument.flags]


def _flag_values(arguments: list[_Argument]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for argument in arguments:
        for flag in argument.flags:
            if argument.values:
                yield flag, argument.values


def _zsh(program: str, options: list[_Argument], subcommands: _Subcommands) -> Iterator[str]:
    yield f"#compdef {program}"
    yield f"_{program}() {{"
    yield "    local -a subcommands=("
    for name, (text, _) in subcommands.items():
        yield f"        {shlex.quote(f'{name}:{text}')}"
    yield "    )"
    yield "    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then"
    yield "        _describe subcommand subcommands"
    yield "        return"
    yield "    fi"
    yield "    if [[ $words[2] == -* ]]; then"
    yield from _zsh_arguments(options)
    yield "        return"
    yield "    fi"
    yield "    local subcommand=$words[2]"
    yield "    shift words"
    yield "    (( CURRENT-- ))"
    yield "    case $subcommand in"
    for name, (_, arguments) in subcommands.items():
        yield f"    {name})"
        yield from _zsh_arguments(arguments)
        yield "        ;;"
    yield "    esac"
    yield "}"
    yield f'if [[ $funcstack[1] == _{program} ]]; then _{program} "$@"; else'
    yield f"    compdef _{program} {program}"
    yield "fi"


def _zsh_arguments(arguments: list[_Argument]) -> Iterator[str]:
    specs = []
    for argument in arguments:
        values = f"({' '.join(argument.values)})" if argument.values else ""
        action = "_files" if argument.is_file else values
        text = argument.help.replace(":", r"\:")
        for bracket in "[]":
            text = text.replace(bracket, f"\\{bracket}")
        value = f":value:{action}" if argument.has_value else ""
        if not argument.flags:
            specs.append(f"*:{text}:{action}")
        # "(-o --output)": after one of the two spellings, neither is offered again.
        excluded = f"({' '.join(argument.flags)})"
        specs += [f"{excluded}{flag}[{text}]{value}" for flag in argument.flags]
    yield "        _arguments -s \\"
    yield " \\\n".join(f"            {shlex.quote(spec)}" for spec in specs)


def _fish(program: str, options: list[_Argument], subcommands: _Subcommands) -> Iterator[str]:
    yield f"# fish completion of {program}"
    yield f"complete -c {program} -n __fish_use_subcommand -f"
    for name, (text, _) in subcommands.items():
        yield f"complete -c {program} -n __fish_use_subcommand -a {name} -d {_fish_quote(text)}"
    for argument in options:
        yield _fish_line(program, "__fish_use_subcommand", argument)
    for name, (_, arguments) in subcommands.items():
        for argument in arguments:
            yield _fish_line(program, f"__fish_seen_subcommand_from {name}", argument)


def _fish_line(program: str, condition: str, argument: _Argument) -> str:
    parts = [f"complete -c {program} -n {_fish_quote(condition)}"]
    for flag in argument.flags:
        parts.append(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}")
    if argument.is_file:
        parts.append("-r -F" if argument.flags else "-F")
    elif argument.has_value and argument.flags:
        parts.append("-x")
    else:
        parts.append("-f")
    if argument.values:
        parts.append(f"-a {_fish_quote(' '.join(argument.values))}")
    return " ".join([*parts, f"-d {_fish_quote(argument.help)}"])


def _fish_quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
