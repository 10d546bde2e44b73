"""The command `mrp`: its arguments. Everything about networks, training and data is an option of the library's table."""

import argparse
import contextlib
import difflib
import importlib
import importlib.util
import json
import logging
import math
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from mrp._config import Config, check_keys, options, presets
from mrp._log import logger
from mrp._mrp import ArgumentError, MrpError, build_info

ERROR, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143

DATA = """DATA is an image folder (<class>/<image>.jpg or .png, or images alone), a .npy file of images (count, channels, height,
width) or (count, height, width, channels), a .npz file with the arrays images and labels (or masks), generated:COUNT[:FIRST]
for images that the library draws, or scenes:COUNT[:FIRST] for such with masks. With masks a folder has JPEGImages and
SegmentationClass (or images and masks). Point clouds, for the encoders point_...: a folder of .npy, .xyz, .txt, .pts, .csv,
.ply or .off files, a .npz file with the arrays points and labels, or shapes:COUNT[:FIRST]."""

EXIT = """exit status: 0 done, also when a time budget ended the run; 1 an error; 2 wrong usage; 130 interrupted by Ctrl-C
(143: SIGTERM), with the state of a training run saved for --resume."""

RUNS = """A run keeps its checkpoints and logs in its run folder: FILE.run beside the output FILE.safetensors, or --run-folder.
However it was stopped (Ctrl-C, a signal, --time-budget, kill -9, a power cut), the same command with --resume goes on from
the newest checkpoint there and ends with the same bytes. Without --resume a folder that holds a run is refused. When the
output of a finished run is written, the checkpoints are deleted and the logs stay; with --run-folder all stays."""


class Parser(argparse.ArgumentParser):
    """Usage errors in the library's manner, in one line: `mrp: ...`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter, **arguments})

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"mrp: {message} (see {self.prog} --help)\n")


def seconds_of(text: str) -> float:
    """'90', '90s', '10m', '1h30m' in seconds."""
    match = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", text)
    try:
        parts = [float(part or 0) for part in match.groups()] if match and text else []
    except ValueError:
        parts = []
    total = sum(part * unit for part, unit in zip(parts, (3600, 60, 1)))
    if not parts or not math.isfinite(total) or total <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a duration such as 90s, 10m or 1h30m")
    return total


def _sizes_of(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of sizes such as 28,28") from None


def _add_table(parser: argparse.ArgumentParser, *sections: str) -> None:
    """An argument for each option of these sections of the table."""
    for section in sections:
        keys = [option.key for option in options().values() if option.section == section and option.key != "continue_run"]  # --resume
        _add_options(parser, section, *keys)


def _add_options(parser: argparse.ArgumentParser, title: str, *keys: str) -> None:
    """An argument for each of these options, documented by the table."""
    group = parser.add_argument_group(f"options: {title}")
    for key in keys:
        option = options()[key]
        text = f"{option.summary} [{option.limits}; default {option.default}]".replace("%", "%%")
        # Durations may be written as people write them: 10m.
        kind = seconds_of if key == "time_budget" else str
        group.add_argument(f"--{key.replace('_', '-')}", type=kind, dest=f"option.{key}", metavar=option.type.upper(), help=text)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="images: see below")
    _add_arrays(parser)


def _add_arrays(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("arrays")
    group.add_argument("--targets", metavar="FILE.npy", help="labels of the images of a .npy file")
    group.add_argument("--layout", choices=("NCHW", "NHWC"), help="order of the dimensions, where the shape leaves a doubt")
    group.add_argument("--image-shape", type=_sizes_of, metavar="SIZES", help="sizes of an image that comes flat, such as 28,28")


def _add_output(parser: argparse.ArgumentParser, default: str | None, text: str) -> None:
    parser.add_argument("-o", "--output", default=default, metavar="FILE", help=text + (f" [default {default}]" if default else ""))
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on standard output")


def _add_run(parser: argparse.ArgumentParser, output: str | None, source: str) -> None:
    parser.add_argument("--from", dest="source", metavar="FILE", help=source)
    parser.add_argument("--preset", choices=sorted(presets()), help="a named set of option values")
    _add_output(parser, output, "the model's safetensors file")
    parser.add_argument(
        "--resume",
        action="store_const",
        const="true",
        dest="option.continue_run",
        help="go on with the run that was stopped, from the newest checkpoint in its run folder: see below",
    )
    parser.add_argument("--options", metavar="FILE.json", help="options as a JSON object, as `mrp options --preset NAME` prints them")
    group = parser.add_argument_group("measurements during training")
    group.add_argument("--validate", metavar="DATA", help="measure the run on these labelled images, which it does not see")
    group.add_argument("--validate-targets", metavar="FILE.npy", help="their labels, for a .npy file")
    group.add_argument("--reference", metavar="DATA", help="pretraining: labelled images that the probes learn from")
    group.add_argument("--reference-targets", metavar="FILE.npy", help="their labels, for a .npy file")
    show = parser.add_mutually_exclusive_group()
    show.add_argument("--progress", action="store_true", default=None, help="show progress even where there is no terminal")
    show.add_argument("--quiet", dest="progress", action="store_false", help="show no progress")


def _add_labelled(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--labels", type=int, metavar="COUNT", help="use this many labelled images, each class in proportion to its size")
    parser.add_argument("--test", metavar="DATA", help="measure the result on these labelled images")
    parser.add_argument("--test-targets", metavar="FILE.npy", help="labels of the test images of a .npy file")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="FILE", help="the safetensors file of a model")


def build_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(prog="mrp", description="Pretrains vision encoders by mask reconstruction, fine-tunes and uses them.", epilog=EXIT)
    parser.add_argument("--version", action="version", version=build_info())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    def add(name: str, text: str, epilog: str = "") -> Parser:
        command: Parser = commands.add_parser(name, help=text, description=text, epilog="\n\n".join(filter(None, [epilog, EXIT])))
        return command

    command = add("pretrain", "Pretrain an encoder on images without labels, as a masked autoencoder.", f"{DATA}\n\n{RUNS}")
    _add_data(command)
    _add_run(command, "encoder.safetensors", "go on from this model's weights instead of fresh ones")
    _add_table(command, "network", "objective", "training", "data", "run", "measurement")

    command = add(
        "finetune",
        "Train with labels, or masks (--task segment, --task instances): from a pretrained encoder, or from scratch.",
        f"{DATA}\n\n{RUNS}",
    )
    _add_data(command)
    _add_labelled(command)
    _add_run(command, "classifier.safetensors", "the pretrained encoder; without it the network is trained from scratch")
    _add_table(command, "network", "objective", "training", "data", "run", "measurement")

    command = add("probe", "Measure an encoder: a linear classifier on its frozen features, and nearest neighbours.", f"{DATA}\n\n{RUNS}")
    _add_data(command)
    _add_labelled(command)
    command.add_argument("--knn", type=int, metavar="K", help="also measure a K-nearest-neighbour classifier on the test images")
    _add_run(command, None, "the encoder (required)")
    _add_table(command, "training", "data", "run", "measurement")

    command = add("predict", "Predict classes of images, or of their pixels.", DATA)
    _add_data(command)
    _add_model(command)
    _add_output(
        command,
        None,
        "FILE.csv (image, class, probability), or FILE.npy (all probabilities); standard output without it. Of pixels: the folder of the "
        "maps, PNG files with a palette [default maps]",
    )
    group = command.add_argument_group("classes of pixels")
    group.add_argument("--overlay", action="store_true", help="also write NAME.overlay.png: the image with the classes' colours over it")
    group.add_argument("--scores", action="store_true", help="also write NAME.npy: probabilities (height, width, classes), float32")
    _add_options(command, "maps", "map_mode", "window_overlap", "score_threshold", "most_instances")
    _add_options(command, "rare classes", "prior", "class_counts")
    _add_table(command, "data", "run")

    command = add("encode", "Compute features of images.", DATA)
    _add_data(command)
    _add_model(command)
    _add_output(command, "features.npy", "the array of features")
    _add_table(command, "data", "run")

    command = add(
        "reconstruct", "Hide patches of images and reconstruct them: a picture each with original, masked and reconstruction.", DATA
    )
    _add_data(command)
    _add_model(command)
    _add_output(command, "reconstructions", "the folder of the pictures")
    command.add_argument("--count", type=int, default=16, help="how many of the first images [default 16; 0: all]")
    _add_table(command, "objective", "data", "run")

    command = add(
        "cluster", "Make finer labels: cut each class of images into clusters of a model's features, of about the same size.", DATA
    )
    _add_data(command)
    _add_model(command)
    command.add_argument("--per-class", type=int, required=True, metavar="COUNT", help="clusters in each class")
    _add_output(
        command,
        "clusters",
        "a new folder of links, <class>/<cluster>/<image>, or FILE.csv (image, class), or FILE.npy (classes, for --targets)",
    )
    _add_table(command, "data", "run")

    command = add(
        "upcycle",
        "Make a mixture of experts of a pretrained model: its experts begin as copies of the model's MLPs. Go on with pretrain --from.",
        DATA,
    )
    command.add_argument("data", metavar="DATA", help="images to cluster, those of the training: see below")
    _add_arrays(command)
    _add_model(command)
    command.add_argument("--experts", type=int, default=4, metavar="COUNT", help="[default 4]")
    _add_output(command, "experts.safetensors", "the mixture's safetensors file")
    _add_table(command, "network", "data", "run")

    command = add("experts", "Show how the experts of a mixture suit images, or write one of them as an ordinary model.", DATA)
    _add_data(command)
    _add_model(command)
    command.add_argument("--expert", type=int, default=-1, metavar="NUMBER", help="the expert to write [default: the best for DATA]")
    _add_output(command, None, "the file of that expert as an ordinary model")
    _add_table(command, "objective", "data", "run")

    if lab := laboratory():
        lab.add_parser(commands)

    command = add(
        "export",
        "Write what a model computes, or a whole training step, as a program for other runtimes.",
        f"The step is that of training on DATA with the same options. Beside FILE, FILE.json names arguments and results.\n\n{DATA}",
    )
    command.add_argument("data", metavar="DATA", nargs="?", help="with --step: images")
    _add_arrays(command)
    command.add_argument("--model", metavar="FILE", help="the safetensors file of a model; needed without --step")
    command.add_argument(
        "--step", choices=("pretrain", "finetune"), help="the training step of this phase instead of the model's inference"
    )
    command.add_argument("--format", choices=("stablehlo", "onnx"), default="stablehlo", help="[default stablehlo; a step: that alone]")
    command.add_argument("--preset", choices=sorted(presets()), help="a named set of option values")
    _add_output(command, "program.mlir", "the program")
    _add_table(command, "network", "objective", "training", "data", "run")

    command = add("info", "Describe a file: a model, a checkpoint, a configuration, an array, or an image folder. Or accelerators.")
    command.add_argument("file", metavar="FILE", nargs="?")
    command.add_argument(
        "--devices",
        nargs="?",
        const="",
        metavar="DEVICE",
        help="describe what a plug-in sees instead: cuda, rocm, tpu or pjrt:/path/to/plugin.so; without a name cuda and rocm",
    )
    command.add_argument("--json", action="store_true", help="print everything as JSON")

    command = add("options", "List the options of the library and the presets, with types, limits, defaults and meaning.")
    command.add_argument("key", nargs="*", metavar="OPTION", help="these options only")
    command.add_argument("--preset", choices=sorted(presets()), help="print the options of this preset as a file for --options")
    command.add_argument("--json", action="store_true", help="print the table as JSON")
    return parser


def laboratory() -> Any:
    """The module behind `mrp lab`: add_parser(commands) and run(args); None in a package without it."""
    return importlib.import_module("mrp._lab_command") if importlib.util.find_spec("mrp._lab_command") else None


def _subparser(parser: argparse.ArgumentParser, command: str) -> argparse.ArgumentParser:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and command in action.choices:
            found: argparse.ArgumentParser = action.choices[command]
            return found
    return parser


def _refuse_unknown(parser: argparse.ArgumentParser, unknown: list[str]) -> None:
    """Ends with the nearest option for the first one that does not exist."""
    word = unknown[0].split("=")[0]
    if not word.startswith("-"):
        parser.error(f"unexpected argument '{word}'")
    # The dashes, which all have, would make short names alike.
    names = {name.lstrip("-"): name for action in parser._actions for name in action.option_strings}
    if nearest := difflib.get_close_matches(word.lstrip("-").replace("_", "-"), names, n=1, cutoff=0.8):
        parser.error(f"unknown option '{word}': the nearest is '{names[nearest[0]]}'")
    try:
        check_keys({word.strip("-").replace("-", "_"): None})
    except ArgumentError as error:
        hint = re.sub(r"'(\w+)' here", lambda match: f"'--{match[1].replace('_', '-')}' here", str(error).partition(": ")[2])
        parser.error(f"unknown option '{word}': {hint}")
    parser.error(f"unknown option '{word}': this command does not have it")


def _options_of(path: str | None, command: argparse.ArgumentParser) -> dict[str, Any]:
    """The options in a file of --options."""
    if path is None:
        return {}
    try:
        with open(path) as file:
            values = json.load(file)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        command.error(f"--options '{path}': {error}")
    if not isinstance(values, dict) or not all(isinstance(value, str | int | float) for value in values.values()):
        command.error(f"--options '{path}' is not a JSON object of options and their values")
    return values


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Arguments with the table's options, checked, as a dict in `table`. A wrong one ends the process with status 2."""
    parser = build_parser()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] != ["lab"]:  # whose options have symbols such as N_pre
        words = [re.sub(r"^--[\w.-]+", lambda match: match[0].replace("_", "-"), word) for word in words]
    args, unknown = parser.parse_known_args(words)
    command = _subparser(parser, args.command)
    if unknown:
        _refuse_unknown(command, unknown)
    prefix = "option."
    given = {name.removeprefix(prefix): value for name, value in vars(args).items() if name.startswith(prefix) and value is not None}
    args.table = _options_of(getattr(args, "options", None), command) | given
    try:
        Config(**args.table)
    except ArgumentError as error:
        command.error(str(error))
    return args


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def _terminate(*_: Any) -> None:
    raise Terminated


@contextlib.contextmanager
def _heard_warnings() -> Iterator[None]:
    """Prints the log's warnings on standard error."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("mrp: warning: %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status."""
    args = parse(arguments)
    with _heard_warnings():
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    try:
        signal.signal(signal.SIGTERM, _terminate)
        if args.command == "lab":
            return int(laboratory().run(args))
        from mrp import _command_work

        return _command_work.COMMANDS[args.command](args)
    except Terminated:
        return TERMINATED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has gone: nothing more can be said
        return ERROR
    except (MrpError, OSError, ValueError) as error:
        print(f"mrp: {error}", file=sys.stderr)
        return ERROR
