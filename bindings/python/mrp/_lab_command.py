"""The command `mrp lab`: the laboratory from the command line. Its options are those of the library's table."""

import argparse
import importlib
import sys
from typing import Any

from mrp import lab
from mrp._mrp import ArgumentError, MrpError, lab_create, lab_set

_OWN = ("preset", "json", "plot", "each", "sweep", "csv", "value", "quiet")
_EPILOG = """\
examples:
  mrp lab --seeds 5                                    the claims of the paper, each with its verdict
  mrp lab --preset quick --json report.json --plot figures
  mrp lab --preset hierarchical --first-seed 100       fine against coarse labels, on seeds 100 to 104
  mrp lab --preset patch_routing                       routed experts on few samples
  mrp lab --tau 1.0                                    no amplification: nothing is learned
  mrp lab --sweep tau=1.05,1.15 --sweep theta=0.4,0.5 --seeds 2 --csv window.csv --plot figures

exit status: 0 when every claim holds over the seeds that were run, 1 when one fails, 2 for wrong options and other errors,
130 when interrupted
"""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Adds `lab` to the commands; `run` does what it says."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "lab",
        usage="mrp lab [--preset NAME] [--OPTION VALUE ...] [--json FILE] [--plot DIR]",
        help="the experiment of the paper that explains why pretraining helps, claim by claim; and two more",
        description=f"Run an experiment (arXiv 2206.03826, 2410.23129, 2306.04073) and judge its claims. {'. '.join(_presets())}.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--preset", metavar="NAME", help="a named set of options: " + ", ".join(lab.presets()))
    parser.add_argument("--json", metavar="FILE", help="write the whole report as JSON")
    parser.add_argument("--plot", metavar="DIR", help="write the figures as PNG files into this folder")
    parser.add_argument("--each", action="store_true", help="a table for each seed too")
    parser.add_argument("--sweep", metavar="OPTION=A,B,...", action="append", help="a study over one or two options instead of a report")
    parser.add_argument("--csv", metavar="FILE", help="where a study keeps its rows; called again, it goes on there")
    parser.add_argument("--value", metavar="COLUMN", default="captured", help="what the figure of a study shows (default: captured)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    groups: dict[str, Any] = {}
    for option in lab.options().values():
        group = groups.get(option.section) or parser.add_argument_group(f"options: {option.section}")
        groups[option.section] = group
        words = [option.key, option.symbol] if option.symbol and option.symbol not in _OWN else [option.key]
        names = dict.fromkeys(f"--{name}" for word in words for name in (word.replace("_", "-"), word))
        text = f"{option.summary} ({option.type}, {option.limits}; default {option.default})".replace("%", "%%")
        group.add_argument(*names, dest=f"option {option.key}", metavar="VALUE", default=argparse.SUPPRESS, help=text)
    _answer_with_the_nearest(parser)
    parser.set_defaults(run=run)
    return parser


def _presets() -> list[str]:
    return [f"{preset.name}: {preset.summary.rstrip('.')}" for preset in lab.presets().values()]


def _answer_with_the_nearest(parser: argparse.ArgumentParser) -> None:
    """An unknown option is answered with the nearest one, as the library says it."""
    parse = parser.parse_known_args

    def parse_known_args(args: Any = None, namespace: Any = None) -> Any:
        found, extra = parse(args, namespace)
        if extra:
            parser.error(_complaint(extra[0]))
        return found, extra

    parser.parse_known_args = parse_known_args  # type: ignore[method-assign]


def _complaint(word: str) -> str:
    if not word.startswith("-"):
        return f"unexpected argument '{word}'"
    try:
        lab_set(lab_create(None), word.lstrip("-").partition("=")[0].replace("-", "_"), "")
    except ArgumentError as error:
        return str(error)
    return f"unknown option '{word}'"


def run(args: argparse.Namespace) -> int:
    """Does what the command says; returns the exit status."""
    options: dict[str, Any] = {name.removeprefix("option "): value for name, value in vars(args).items() if name.startswith("option ")}
    try:
        if args.plot:
            importlib.import_module("mrp._lab_plots")  # not after a run that took minutes
        return _study(args, options) if args.sweep else _report(args, options)
    except (MrpError, OSError, ImportError) as error:
        return _fail(str(error))


def _report(args: argparse.Namespace, options: dict[str, Any]) -> int:
    if args.csv:
        return _fail("--csv belongs to a study: give --sweep OPTION=A,B,... too")
    if args.json:
        open(args.json, "a").close()
    report = lab.run(args.preset, progress=False if args.quiet else None, **options)
    if args.each:
        for seed in range(len(report.data["seeds"])):
            print(report.table(seed))
    print(report, end="")
    if args.json:
        report.to_json(args.json)
    if args.plot:
        report.plot().save(args.plot)
    return 0 if report.holds else 1


def _study(args: argparse.Namespace, options: dict[str, Any]) -> int:
    if args.json:
        return _fail("--json belongs to a report: a study writes --csv FILE")
    axes: dict[str, list[str]] = {}
    for sweep in args.sweep:
        name, equals, values = sweep.partition("=")
        if not equals:
            return _fail(f"'{sweep}' is not an option with its values, such as tau=1.05,1.15")
        axes[name.strip().replace("-", "_")] = values.split(",")
    table = lab.study(axes, args.preset, path=args.csv, progress=False if args.quiet else None, **options)
    columns = [*table.axes, "seed", "outcome", "captured", "features", "mixed", "single_view", "sl_captured", "sl_single_view"]
    if "outcome" not in table.columns:
        columns = [name for name in table.columns if name != "options"]
    print(" | ".join(columns))
    for row in table:
        print(" | ".join("-" if row[name] is None else str(row[name]) for name in columns))
    if args.plot:
        lab.Figures({"study": table.plot(args.value)}).save(args.plot)
    return 0


def _fail(text: str) -> int:
    print(f"mrp lab: {text}", file=sys.stderr)
    return 2
