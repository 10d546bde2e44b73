"""Time that a program needs at least on an H100, kernel by kernel, from the optimised HLO text that XLA writes.

    python3 benchmarks/gpu/roofline.py module_0001.step.sm_9.0a_gpu_after_optimizations.txt --batch 256

A kernel takes the longer of its products' operations at the unit's peak and its bytes at the memory's bandwidth (operands and results, each
once; of an operand that a fusion only slices or gathers from, what it takes). Kernels in practice reach two thirds to three quarters of
it. Peaks are the data sheet's.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

WIDTH = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
SHAPE = re.compile(r"\b(pred|[suf]\d+|bf16)\[([\d,]*)\]")
INSTRUCTION = re.compile(r"^\s+(ROOT )?%([\w.\-]+) = (\((?:[^()]|\([^()]*\))*\)|\S+) ([\w\-]+)\((.*)$")
PEAK = {"bf16": 989e12, "f16": 989e12, "tf32": 495e12, "f32": 67e12, "f64": 67e12}
"""Operations a second of dense products."""
FREE = {"parameter", "get-tuple-element", "bitcast", "tuple", "constant", "opt-barrier", "after-all", "partition-id", "replica-id"}
TAKES_PART = {"slice", "dynamic-slice", "gather"}


@dataclass
class Instruction:
    """One line of a computation."""

    name: str
    shapes: list[tuple[str, list[int]]]
    operation: str
    operands: list[str]
    text: str

    @property
    def bytes(self) -> int:
        """Of the result; a workspace of bytes is not counted."""
        shapes = (
            self.shapes[:-1]
            if self.operation == "custom-call" and len(self.shapes) > 1 and self.shapes[-1][0] in ("s8", "u8")
            else self.shapes
        )
        return sum(WIDTH.get(kind, 4) * prod(dims) for kind, dims in shapes)

    def numbers(self, attribute: str) -> list[int]:
        """Numbers of an attribute: `name={1,2}` or `"name":["1","2"]`."""
        found = re.search(rf'\b{attribute}(?:=\{{|":\[)([\d,"]*)', self.text)
        return [int(number) for number in re.findall(r"\d+", found.group(1))] if found else []

    def called(self) -> str | None:
        """The computation of a fusion or call."""
        found = re.search(r"(?:calls|to_apply)=%([\w.\-]+)", self.text)
        return found.group(1) if found else None


@dataclass
class Kernel:
    """What one launch does."""

    kind: str
    seconds: float
    operations: float
    bytes: float
    about: str


@dataclass
class Module:
    """Computations by name."""

    computations: dict[str, dict[str, Instruction]] = field(default_factory=dict)
    entry: str = ""

    @classmethod
    def parse(cls, text: str) -> Module:
        """Reads HLO text."""
        module, current = cls(), None
        for line in text.splitlines():
            if header := re.match(r"(ENTRY )?%([\w.\-]+) \(.*\{$", line):
                current = module.computations.setdefault(header.group(2), {})
                module.entry = header.group(2) if header.group(1) else module.entry
            elif current is not None and (found := INSTRUCTION.match(line)):
                _, name, shape, operation, rest = found.groups()
                arguments = rest[: closing(rest)]
                shapes = [(kind, [int(side) for side in dims.split(",") if side]) for kind, dims in SHAPE.findall(shape)]
                current[name] = Instruction(name, shapes, operation, re.findall(r"%([\w.\-]+(?:#\d+)?)", arguments), rest)
        return module

    def shape(self, computation: str, operand: str) -> list[tuple[str, list[int]]]:
        """Shapes of an operand, `name` or `name#1`."""
        name, _, element = operand.partition("#")
        instruction = self.computations[computation].get(name)
        if instruction is None:
            return []
        if instruction.operation == "get-tuple-element":
            index = int(re.search(r"index=(\d+)", instruction.text).group(1))
            return self.shape(computation, f"{instruction.operands[0]}#{index}")
        return [instruction.shapes[int(element)]] if element and int(element) < len(instruction.shapes) else instruction.shapes

    def kernels(self, computation: str) -> list[Kernel]:
        """All launches of a computation, those in graphs of commands included."""
        result = []
        for instruction in self.computations[computation].values():
            called = instruction.called()
            if instruction.operation in ("call", "while", "conditional", "async-start") and called in self.computations:
                result += self.kernels(called)
            elif instruction.operation not in FREE and not instruction.operation.endswith("-done"):
                result.append(self.kernel(computation, instruction))
        return result

    def kernel(self, computation: str, instruction: Instruction) -> Kernel:
        """Operations and bytes of one launch."""
        products = self.products(computation, instruction)
        moved = instruction.bytes + sum(self.read(computation, instruction, place) for place in range(len(instruction.operands)))
        busy = sum(operations / PEAK[unit] for operations, unit in products)
        target = re.search(r'custom_call_target="([^"]+)"', instruction.text)
        kind = re.search(r"kind=(\w+)", instruction.text)
        label = target.group(1) if target else f"{instruction.operation} {kind.group(1)}" if kind else instruction.operation
        shapes = " ".join(f"{kind}{dims}".replace(" ", "") for kind, dims in instruction.shapes)
        seconds = max(busy, moved / BANDWIDTH, LAUNCH)
        return Kernel(label, seconds, sum(operations for operations, _ in products), moved, shapes)

    def read(self, computation: str, instruction: Instruction, place: int) -> int:
        """Bytes that are read of an operand."""
        whole = sum(WIDTH.get(kind, 4) * prod(dims) for kind, dims in self.shape(computation, instruction.operands[place]))
        body = self.computations.get(instruction.called() or "", {}) if instruction.operation == "fusion" else {}
        parameters = [inner.name for inner in body.values() if inner.operation == "parameter" and inner.text.startswith(f"{place})")]
        users = [inner for inner in body.values() if set(parameters) & set(inner.operands)]
        if users and all(user.operation in TAKES_PART and user.operands[0] in parameters for user in users):
            return min(whole, sum(user.bytes for user in users))
        return whole

    def products(self, computation: str, instruction: Instruction) -> list[tuple[float, str]]:
        """Operations of matrix products and convolutions, with the unit that does them."""
        if instruction.operation == "fusion":
            called = instruction.called() or ""
            return [product for inner in self.computations.get(called, {}).values() for product in self.products(called, inner)]
        shapes = [self.shape(computation, operand) for operand in instruction.operands[:3]]
        shapes = [shape[0] if shape else ("f32", []) for shape in shapes]
        result = instruction.shapes[0] if instruction.shapes else ("f32", [])
        if instruction.operation == "dot" or "$matmul" in instruction.text or "__cublas$gemm" in instruction.text:
            contracted = instruction.numbers("lhs_contracting_dims") or instruction.numbers("lhs_contracting_dimensions")
            return [(2.0 * prod(result[1]) * prod(shapes[0][1][axis] for axis in contracted), unit(shapes[0][0], instruction.text))]
        if instruction.operation == "convolution" or "__cudnn$conv" in instruction.text:
            return [(convolution(instruction, [shape[1] for shape in shapes], result[1]), unit(shapes[0][0], instruction.text))]
        if "__cudnn$fmha" in instruction.text:
            # Scores and their product with the values; five products of that size in the gradient. [B, T, heads, d] or [B, heads, T, d].
            query, keys = shapes[0][1], shapes[1][1]
            tokens = max(keys[1], keys[2]) if keys[1] != query[1] else keys[1]
            return [((10.0 if "Backward" in instruction.text else 4.0) * prod(query) * tokens, "bf16")]
        return []


BANDWIDTH = 3.35e12
"""Bytes a second."""


LAUNCH = 2e-6
"""Seconds of the shortest kernel within a graph of commands."""


def closing(text: str) -> int:
    """Place of the parenthesis that ends the operands."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place
    return len(text)


def unit(kind: str, text: str) -> str:
    """float32 goes by TF32 where nothing asks for more."""
    if kind != "f32":
        return kind if kind in PEAK else "f32"
    return "f32" if re.search(r'"HIGHEST"|operand_precision=\{highest|F32_F32_F32', text) else "tf32"


def convolution(instruction: Instruction, operands: list[list[int]], result: list[int]) -> float:
    """2 |y| |w| / O of the forward convolution, whichever of the three passes this is."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.text)
    weights, outputs = operands[1], result
    if "BackwardInput" in instruction.text:
        outputs = operands[0]
    elif "BackwardFilter" in instruction.text:
        weights, outputs = result, operands[1]
    return 2.0 * prod(outputs) * prod(weights) / outputs[labels.group(3).index("f")] if labels else 0.0


def main() -> None:
    """Prints kernels by kind, the totals and the longest kernels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--batch", type=int, help="images of a step")
    parser.add_argument("--longest", type=int, default=12, help="groups of kernels that are listed")
    args = parser.parse_args()
    module = Module.parse(args.text.read_text())
    kernels = module.kernels(module.entry)
    kinds: dict[str, list[Kernel]] = defaultdict(list)
    for kernel in kernels:
        kinds[kernel.kind].append(kernel)
    print(f"{'kernels':>8} {'TFLOP':>9} {'GB':>9} {'ms':>8}  kind")
    for kind, group in sorted(kinds.items(), key=lambda entry: -sum(kernel.seconds for kernel in entry[1])):
        print(row(group) + "  " + kind)
    print(row(kernels) + "  all")
    total = sum(kernel.seconds for kernel in kernels)
    if args.batch:
        most = args.batch / total
        print(f"at most {most:,.0f} images/s; {0.65 * most:,.0f} to {0.75 * most:,.0f} to be expected")
    alike: dict[str, list[Kernel]] = defaultdict(list)
    for kernel in kernels:
        alike[f"{kernel.kind}: {kernel.about}"].append(kernel)
    print("\nthe most time, kernels of one kind and result together")
    for about, group in sorted(alike.items(), key=lambda entry: -sum(kernel.seconds for kernel in entry[1]))[: args.longest]:
        print(row(group) + "  " + about)


def row(kernels: list[Kernel]) -> str:
    """Sums of a group."""
    operations, moved, seconds = (sum(getattr(kernel, key) for kernel in kernels) for key in ("operations", "bytes", "seconds"))
    return f"{len(kernels):8d} {operations / 1e12:9.3f} {moved / 1e9:9.2f} {1e3 * seconds:8.2f}"


if __name__ == "__main__":
    main()
