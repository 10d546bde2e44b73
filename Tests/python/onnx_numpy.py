"""ONNX files run by numpy: so much of the format as the library writes."""

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

TYPES = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_}


def fields(data: bytes) -> list[tuple[int, Any]]:
    """(number, value) of each field of a message: integers, floats and bytes."""

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value - (1 << 64) if value >= 1 << 63 else value
            shift += 7

    place, result = 0, []
    while place < len(data):
        tag = varint()
        if tag & 7 == 0:
            result.append((tag >> 3, varint()))
        elif tag & 7 == 5:
            result.append((tag >> 3, struct.unpack_from("<f", data, place)[0]))
            place += 4
        else:
            length = varint()
            result.append((tag >> 3, data[place : place + length]))
            place += length
    return result


def all_of(message: bytes, number: int) -> list[Any]:
    return [value for found, value in fields(message) if found == number]


def texts_of(message: bytes, number: int) -> list[str]:
    return [value.decode() for value in all_of(message, number)]


def windows(x, kernel_shape, strides, pads, dilations=(1, 1), fill=0.0):
    """[batch, channels, rows, columns, kernel rows, kernel columns]"""
    padded = np.pad(x, [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])], constant_values=fill)
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(kernel_shape, dilations)]
    return sliding_window_view(padded, reach, axis=(2, 3))[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]


def convolve(x, weight, group, **window):
    found = windows(x, **window)
    batch, channels, *rest = found.shape
    inputs = found.reshape(batch, group, channels // group, *rest)
    kernels = weight.reshape(group, -1, *weight.shape[1:])
    return np.einsum("bgchwij,gocij->bgohw", inputs, kernels).reshape(batch, -1, *rest[:2]).astype(np.float32)


def cut(x, starts, ends, axes, steps):
    places = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        places[axis] = slice(start, end, step)
    return x[tuple(places)]


OPERATIONS = {
    "Identity": lambda x: x,
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Pow": np.power,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Not": np.logical_not,
    "Equal": np.equal,
    "Less": np.less,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Where": np.where,
    "Relu": lambda x: np.maximum(x, 0),
    "Neg": np.negative,
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Tanh": np.tanh,
    "Abs": np.abs,
    "Sign": np.sign,
    "Reciprocal": lambda x: np.float32(1) / x,
    "Erf": lambda x: np.vectorize(math.erf, otypes=[np.float32])(x),
    "Cast": lambda x, to: x.astype(TYPES[to]),
    "Shape": lambda x, start, end: np.array(x.shape[start:end], np.int64),
    "Expand": lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))),
    "Reshape": lambda x, shape: x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(shape)]),
    "Transpose": lambda x, perm: x.transpose(perm),
    "Slice": cut,
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "Gather": lambda x, indices, axis: np.take(x, indices, axis),
    "ReduceSum": lambda x, axes, keepdims: x.sum(tuple(axes), keepdims=bool(keepdims)),
    "ReduceMax": lambda x, axes, keepdims: x.max(tuple(axes), keepdims=bool(keepdims)),
    "ReduceMin": lambda x, axes, keepdims: x.min(tuple(axes), keepdims=bool(keepdims)),
    "MatMul": np.matmul,
    "Softmax": lambda x, axis: np.exp(x - x.max(axis, keepdims=True)) / np.exp(x - x.max(axis, keepdims=True)).sum(axis, keepdims=True),
    "LayerNormalization": lambda x, scale, shift, axis, epsilon: (
        (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + np.float32(epsilon)) * scale + shift
    ),
    "Conv": convolve,
    "MaxPool": lambda x, **window: windows(x, fill=-np.inf, **window).max((4, 5)),
    "AveragePool": lambda x, count_include_pad, **window: windows(x, **window).mean((4, 5)),
}


class OnnxFile:
    """The graph of a file, as `onnxruntime.InferenceSession` has it."""

    def __init__(self, path: Path) -> None:
        (graph,) = all_of(path.read_bytes(), 7)
        self.nodes = all_of(graph, 1)
        self.outputs = [texts_of(output, 1)[0] for output in all_of(graph, 12)]
        self.weights = {}
        for tensor in all_of(graph, 5):
            (kind,), (name,) = all_of(tensor, 2), texts_of(tensor, 8)
            self.weights[name] = np.frombuffer(all_of(tensor, 9)[0], TYPES[kind]).reshape(all_of(tensor, 1))

    @property
    def operations(self) -> list[str]:
        return [texts_of(node, 4)[0] for node in self.nodes]

    def run(self, images):
        """The outputs by name."""
        values = self.weights | {"images": images}
        for node in self.nodes:
            attributes = {}
            for attribute in all_of(node, 5):
                ((kind,), (name,)) = all_of(attribute, 20), texts_of(attribute, 1)
                attributes[name] = all_of(attribute, 8) if kind == 7 else all_of(attribute, 2 if kind == 1 else 3)[0]
            inputs = [values[name] for name in texts_of(node, 1)]
            values[texts_of(node, 2)[0]] = OPERATIONS[texts_of(node, 4)[0]](*inputs, **attributes)
        return {name: values[name] for name in self.outputs}
