#!/usr/bin/env python3
"""Writes include/mrp.h, and the list of exported symbols, from the Swift sources.

    generate_header.py --build .build/release --header include/mrp.h --symbols packaging/symbols.txt

Three sources meet here, beside the table of options that the library itself describes, and every disagreement between them is an error:

  types   the C header that the compiler emits for the module MRP (MRP-Swift.h): the truth about each function's C type;
  docs    the module's symbol graph: doc comments, parameter names, order of the sources;
  frame   Sources/CMRPTypes/include/mrp_types.h: opening page, status codes, handles, callbacks.

What the Swift files of Sources/MRP have to look like:

  * A file with exported functions begins with a comment `// # 3. Datasets`, then `//`, then an introduction: a section of the
    header. Sections are printed in the order of their numbers; a number that stands in several files is an error.
  * Each `@_cdecl` function has a doc comment: prose, indented code or ``` fences, lists, `- Parameter x:` or
    `- Parameters:`, `- Returns:`, and for a function that returns mrp_status `- Errors:` with every code that it can give (or
    `none`); at the end `Since 0.1.`
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import NamedTuple

import option_table

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 100
SCALARS = {"int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t"}
SCALARS |= {"float", "double", "char", "void"}
SWIFT_SCALARS = {"Float": "float", "Double": "double", "CChar": "char", "Void": "void", "()": "void"}
SWIFT_SCALARS |= {f"{u}Int{n}": f"{u.lower()}int{n}_t" for u in ("", "U") for n in (8, 16, 32, 64)}
KEYWORDS = set(
    "alignas alignof and asm auto bool break case catch char class const constexpr continue default delete do double else enum explicit "
    "export extern false float for friend goto if inline int long mutable namespace new not operator or private protected public register "
    "restrict return short signed sizeof static struct switch template this throw true try typedef typename union unsigned using virtual "
    "void volatile while xor".split()
)


class Failure(Exception):
    pass


class Parameter(NamedTuple):
    name: str
    type: str


class Prototype(NamedTuple):
    result: str
    name: str
    parameters: list


class Documented(NamedTuple):
    """A function as the symbol graph shows it; types are those of Swift."""

    file: Path
    line: int
    result: str
    parameters: list
    doc: list


# ---- The compiler's view --------------------------------------------------------------------------------------------------------


def normalise_type(text):
    """`char const * _Nullable *` and the like in one spelling: `const char **`."""
    text = re.sub(r"\b(_Nullable|_Nonnull|_Null_unspecified|struct)\b", "", text)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"^(\w+) const\b", r"const \1", text)
    stars = text.count("*")
    return text.replace("*", "").strip() + (" " + "*" * stars if stars else "")


def parse_prototype(declaration):
    match = re.fullmatch(r"(.+?)\b(\w+)\s*\((.*)\)", declaration.strip())
    if not match:
        raise Failure(f"cannot read the compiler's declaration: {declaration}")
    result, name, inside = match.groups()
    if "(" in inside:
        raise Failure(f"{name}: a callback parameter needs a typedef in mrp_types.h")
    parameters = []
    for piece in [] if inside.strip() in ("", "void") else inside.split(","):
        last = re.fullmatch(r"(.*?)(\w+)\s*", piece.strip())
        if not last or not last.group(1).strip():
            raise Failure(f"{name}: a parameter has no name: {piece.strip()}")
        parameters.append(Parameter(last.group(2), normalise_type(last.group(1))))
    return Prototype(normalise_type(result), name, parameters)


def read_prototypes(path, declared):
    """Exported functions from the emitted header; `declared` are the typedef names that mrp_types.h offers."""
    prototypes = {}
    for match in re.finditer(r"^SWIFT_EXTERN (.+?)\s*(?:SWIFT_\w+\s*)*;$", path.read_text(), re.M):
        prototype = parse_prototype(match.group(1))
        if not re.fullmatch(r"mrp_[a-z0-9_]+", prototype.name):
            raise Failure(f"{prototype.name}: an exported function is named mrp_ and lower case")
        for type_ in [prototype.result] + [p.type for p in prototype.parameters]:
            base = type_.removeprefix("const ").rstrip(" *")
            if base not in SCALARS and base not in declared:
                raise Failure(f"{prototype.name}: {type_} is neither fixed-width, float, double nor a type of mrp_types.h")
        prototypes[prototype.name] = prototype
    return prototypes


# ---- The symbol graph's view ----------------------------------------------------------------------------------------------------


def extract_symbol_graph(build):
    """Runs the toolchain's extractor on the built module MRP."""
    command = ["swift", "symbolgraph-extract", "-module-name", "MRP", "-minimum-access-level", "public", "-I", str(build / "Modules")]
    command += ["-Xcc", "-DMRP_SWIFT_IMPORT"]
    target = subprocess.run(["swift", "-print-target-info"], capture_output=True, text=True, check=True).stdout
    command += ["-target", json.loads(target)["target"]["triple"]]
    for include in sorted((ROOT / "Sources").glob("*/include")):
        if (include / "module.modulemap").exists():
            command += ["-I", str(include)]
    for generated in sorted(build.glob("*.build/module.modulemap")):
        command += ["-Xcc", f"-fmodule-map-file={generated.resolve()}"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*command, "-output-dir", folder], capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"symbolgraph-extract failed:\n{done.stdout}{done.stderr}")
        return json.loads((Path(folder) / "MRP.symbols.json").read_text())


def swift_to_c(type_):
    """The C spelling of a Swift type, by the import rules; None for a type that has none."""
    type_ = type_.strip().removesuffix("?").strip()
    if type_ in ("UnsafeRawPointer", "UnsafeMutableRawPointer"):
        return "const void *" if type_ == "UnsafeRawPointer" else "void *"
    pointer = re.fullmatch(r"Unsafe(Mutable)?Pointer<(.+)>", type_)
    if not pointer:
        return SWIFT_SCALARS.get(type_, type_ if re.fullmatch(r"mrp_\w+", type_) else None)
    inner = swift_to_c(pointer.group(2))
    if inner is None:
        return None
    stars = "" if inner.endswith("*") else " "
    # Constness is printed for the innermost level only: `T *const *` does not appear in this library.
    prefix = "const " if not pointer.group(1) and "*" not in inner else ""
    return f"{prefix}{inner}{stars}*"


def spell(fragments):
    return "".join(f["spelling"] for f in fragments)


def read_documentation(graph):
    functions = {}
    for symbol in graph["symbols"]:
        declaration = spell(symbol["declarationFragments"])
        match = re.search(r'@_cdecl\("(\w+)"\)', declaration)
        if not match:
            continue
        name = match.group(1)
        if "location" not in symbol:
            raise Failure(f"{name}: the symbol graph has no source location")
        signature = symbol["functionSignature"]
        parameters = []
        for p in signature.get("parameters", []):
            text = spell(p["declarationFragments"])
            parameters.append(Parameter((p.get("internalName") or p["name"]).strip("`"), text.split(":", 1)[1].strip()))
        functions[name] = Documented(
            Path(symbol["location"]["uri"].removeprefix("file://")),
            symbol["location"]["position"]["line"],
            spell(signature["returns"]),
            parameters,
            [line["text"] for line in symbol.get("docComment", {}).get("lines", [])],
        )
    return functions


def merge(prototypes, functions):
    """Prototypes with the parameter names of the sources, after a comparison of the two views."""
    for name in sorted(prototypes.keys() ^ functions.keys()):
        raise Failure(f"{name}: seen by the {'compiler' if name in prototypes else 'symbol graph'} only (must be public and @_cdecl)")
    merged = {}
    for name, prototype in prototypes.items():
        documented = functions[name]
        where = f"{documented.file.name}:{documented.line + 1}: {name}"
        if len(prototype.parameters) != len(documented.parameters):
            raise Failure(
                f"{where}: the compiler has {len(prototype.parameters)} parameters, the symbol graph {len(documented.parameters)}"
            )
        pairs = [("the result", prototype.result, documented.result)]
        parameters = []
        for c, swift in zip(prototype.parameters, documented.parameters):
            # The compiler appends "_" to names that are reserved anywhere in Objective-C or Swift, `out` among them.
            if c.name.rstrip("_") != swift.name.rstrip("_"):
                raise Failure(f"{where}: parameter {swift.name} is called {c.name} by the compiler")
            if swift.name in KEYWORDS:
                raise Failure(f"{where}: parameter {swift.name} is a keyword in C or C++")
            pairs.append((swift.name, c.type, swift.type))
            parameters.append(Parameter(swift.name, c.type))
        for what, c_type, swift_type in pairs:
            if swift_to_c(swift_type) != c_type:
                raise Failure(f"{where}: {what} is {c_type} for the compiler, {swift_type} in the symbol graph")
        merged[name] = Prototype(prototype.result, name, parameters)
    return merged


# ---- Doc comments ---------------------------------------------------------------------------------------------------------------


def plain(text):
    """Markdown's inline marks are for Swift's documentation; C readers get the words."""
    text = re.sub(r"``(\w+)(?:\([^`]*\))?``", r"\1", text)
    text = re.sub(r"`([^`]*)`", r"\1", text)
    return re.sub(r"\*\*([^*]+)\*\*", r"\1", text)


def parse_doc(lines):
    """Blocks of a doc comment: ("prose" | "code" | "item" | "parameter" | "field", label, text or lines)."""
    blocks, open_block, fenced, in_parameters = [], None, False, False
    for raw in lines:
        line = raw.rstrip()
        if line.strip().startswith("```"):
            fenced, open_block = not fenced, None
            if fenced:
                blocks.append(["code", "", []])
            continue
        if fenced or (line.startswith("    ") and open_block is None):
            if not fenced and (not blocks or blocks[-1][0] != "code"):
                blocks.append(["code", "", []])
            blocks[-1][2].append(line if fenced else line[4:])
            continue
        if not line.strip():
            open_block = None
            continue
        field = re.match(r"- (Returns|Errors|Note|Warning):\s*(.*)", line)
        single = re.match(r"- Parameter (\w+):\s*(.*)", line)
        nested = re.match(r"\s+- (\w+):\s*(.*)", line) if in_parameters else None
        if re.fullmatch(r"- Parameters:", line):
            in_parameters, open_block = True, None
        elif field or single or nested:
            match = field or single or nested
            in_parameters = bool(nested)
            open_block = ["field" if field else "parameter", match.group(1), match.group(2)]
            blocks.append(open_block)
        elif line.lstrip().startswith("- "):
            in_parameters = False
            open_block = ["item", "", line.lstrip()[2:]]
            blocks.append(open_block)
        elif re.match(r"Since \d+\.\d+", line):
            open_block = ["field", "Since", line.removeprefix("Since ").strip()]
            blocks.append(open_block)
        elif open_block is not None:
            open_block[2] += " " + line.strip()
        else:
            open_block = ["prose", "", line.strip()]
            blocks.append(open_block)
    return blocks


def fill(text, first, rest):
    return textwrap.wrap(
        plain(text), WIDTH - 3, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def render(blocks):
    lines = []
    width = max((len(label) for kind, label, _ in blocks if kind == "parameter"), default=0)
    previous = None
    for kind, label, text in blocks:
        grouped = (kind == previous and kind != "prose") or {kind, previous} <= {"parameter", "field"} or label == "Since"
        if lines and not grouped:
            lines.append("")
        if kind == "code":
            lines += ["    " + line if line else "" for line in text]
        elif kind == "item":
            lines += fill(text, "- ", "  ")
        elif kind == "parameter":
            lines += fill(text, f"  {label:<{width}}  ", " " * (width + 4))
        elif kind == "field":
            lines += fill(f"Since {text}" if label == "Since" else f"{label}: {text}", "", "    ")
        else:
            lines += fill(text, "", "")
        previous = kind
    return lines


def check_doc(where, prototype, blocks, codes, names):
    if not blocks or blocks[0][0] != "prose":
        raise Failure(f"{where}: no documentation")
    fields = {label: text for kind, label, text in blocks if kind == "field"}
    if "Since" not in fields:
        raise Failure(f"{where}: the doc comment does not end with `Since x.y.`")
    if (prototype.result == "mrp_status") != ("Errors" in fields):
        raise Failure(f"{where}: `- Errors:` belongs to a function that returns mrp_status, and only there")
    if "Errors" in fields and "MRP_ERR_" not in fields["Errors"] and plain(fields["Errors"]).strip(". ") != "none":
        raise Failure(f"{where}: `- Errors:` names no code; write `none` when there is none")
    parameters = [p.name for p in prototype.parameters]
    described = [label for kind, label, _ in blocks if kind == "parameter"]
    if described != [name for name in parameters if name in described]:
        raise Failure(f"{where}: describes {', '.join(described)}; the parameters are {', '.join(parameters)}")
    text = " ".join(" ".join(t) if isinstance(t, list) else t for _, _, t in blocks)
    for word in re.findall(r"\bMRP_[A-Z0-9_]+\b(?!\*)", text):
        if word not in codes:
            raise Failure(f"{where}: mentions {word}, which mrp_types.h does not define")
    for word in re.findall(r"\bmrp_[a-z0-9_]+\b(?!\*)", text):
        if word.rstrip("_") not in names:
            raise Failure(f"{where}: mentions {word}, which does not exist")


def comment(lines, opening):
    for line in lines:
        if "*/" in line or "/*" in line:
            raise Failure(f"a doc comment cannot hold a comment mark: {line.strip()}")
    return "\n".join([opening] + [(" * " + line).rstrip() for line in lines] + [" */"])


# ---- The header -----------------------------------------------------------------------------------------------------------------


def read_section(path):
    """(number, title, introduction) of a Swift file from its first comment."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("//") or line.startswith("///"):
            break
        lines.append(line[2:].removeprefix(" "))
    heading = re.fullmatch(r"# (\d+)\. (.+)", lines[0].strip()) if lines else None
    if not heading:
        raise Failure(f"{path.name}: exports functions, so its first line must be a section heading such as `// # 3. Datasets`")
    return int(heading.group(1)), heading.group(2), lines[1:]


def print_prototype(prototype):
    result = prototype.result + ("" if prototype.result.endswith("*") else " ")
    words = [p.type + ("" if p.type.endswith("*") else " ") + p.name for p in prototype.parameters] or ["void"]
    head = f"{result}{prototype.name}("
    lines = [head]
    for i, word in enumerate(words):
        piece = word + (");" if i + 1 == len(words) else ",")
        space = "" if lines[-1].endswith("(") else " "
        if len(lines[-1]) + len(space) + len(piece) > WIDTH:
            lines.append(" " * len(head) if len(head) < 44 else " " * 8)
            space = ""
        lines[-1] += space + piece
    return "\n".join(line.rstrip() for line in lines)


def print_functions(prototypes, functions, codes, types, option_lines):
    sections = {}
    for path in sorted({f.file for f in functions.values()}):
        number, title, introduction = read_section(path)
        if number in sections:
            raise Failure(f"{path.name}: section {number} is taken by {sections[number][0].name}")
        sections[number] = (path, title, introduction)
    names = prototypes.keys() | types
    out = []
    for number, (path, title, introduction) in sorted(sections.items()):
        rule = f"/* ---- {number}. {title} "
        heading = rule + "-" * (WIDTH - len(rule))
        body = render(parse_doc(introduction))
        out.append(comment((["", *body]) if body else [], heading))
        if title == "Options":
            out.append(comment(option_lines, "/*"))
        own = [name for name, f in functions.items() if f.file == path]
        for name in sorted(own, key=lambda n: functions[n].line):
            blocks = parse_doc(functions[name].doc)
            check_doc(f"{path.name}:{functions[name].line + 1}: {name}", prototypes[name], blocks, codes, names)
            out.append(comment(render(blocks), "/**") + "\n" + print_prototype(prototypes[name]))
    return "\n\n".join(out)


def generate(build):
    types = (ROOT / "Sources/CMRPTypes/include/mrp_types.h").read_text()
    types = re.sub(r"#ifdef MRP_SWIFT_IMPORT\n.*?\n#endif\n\n", "", types, flags=re.S)
    for needed in ("MRP_TYPES_H", "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n"):
        if needed not in types:
            raise Failure(f"mrp_types.h has lost {needed.strip()!r}, which this script looks for")
    for include in re.findall(r"#include (.*)", types):
        if include not in ("<stdint.h>", "<stddef.h>", "<mrp.h>", "<stdio.h>"):  # the last two: the example of the opening page
            raise Failure(f"mrp_types.h includes {include}")
    typedefs = set(re.findall(r"^typedef [^;(]*?(mrp_\w+);", types, re.M)) | set(re.findall(r"\(\*(mrp_\w+)\)", types))
    codes = set(re.findall(r"\bMRP_[A-Z0-9_]+\b", types))
    emitted = build / "MRP.build/include/MRP-Swift.h"
    if not emitted.exists():
        raise Failure(f"{emitted} is missing: run `make build` first")
    functions = read_documentation(extract_symbol_graph(build))
    prototypes = merge(read_prototypes(emitted, typedefs), functions)
    for name in re.findall(r"\b(mrp_[a-z0-9_]+)\(", types):
        if name not in prototypes and name not in typedefs:
            raise Failure(f"mrp_types.h mentions {name}(), which does not exist")
    head, tail = types.replace("MRP_TYPES_H", "MRP_H").rsplit("\n#ifdef __cplusplus\n}", 1)
    option_lines = option_table.header_lines(option_table.read(build / "libmrp.so"), WIDTH - 3)
    body = print_functions(prototypes, functions, codes, typedefs, option_lines)
    notice = "/* Generated by tools/generate_header.py: change Sources/MRP or Sources/CMRPTypes, then `make header`. */\n"
    header = f"{notice}\n{head}\n{body}\n\n#ifdef __cplusplus\n}}{tail}"
    for line in header.splitlines():
        if len(line) > WIDTH + 5:
            raise Failure(f"wider than {WIDTH} columns, wrap it where it comes from: {line}")
    return header, "".join(f"{name}\n" for name in sorted(prototypes))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="SwiftPM's products, such as .build/release")
    parser.add_argument("--header", type=Path, required=True)
    parser.add_argument("--symbols", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        header, symbols = generate(arguments.build)
    except Failure as failure:
        sys.exit(f"generate_header.py: {failure}")
    for path, text in ((arguments.header, header), (arguments.symbols, symbols)):
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    print(f"{len(symbols.splitlines())} functions, {len(header.splitlines())} lines: {arguments.header}")


if __name__ == "__main__":
    main()
