"""The ATen operators that codecs' transforms consist of, as nodes of ONNX."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

Sizes = tuple[tuple[int, ...], tuple[int, ...]]
"""The shape of a tensor for two sizes of the input."""


class Graph(Protocol):
    """The graph that operators add their nodes to. Values are known by names."""

    def add(self, kind: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node. Inputs are names, tensors, arrays and numbers. Returns the names of its outputs."""

    def shape(self, sizes: Sizes) -> str:
        """The name of a shape that follows the input's."""


Operator = Callable[..., list[str]]
"""Takes the graph, the sizes of the first result, and the arguments of the ATen operator, tensors by name."""


def _simple(kind: str) -> Operator:
    def add(graph: Graph, _: Sizes, *inputs: Any) -> list[str]:
        return graph.add(kind, *inputs)

    return add


def _leaky_relu(graph: Graph, _: Sizes, x: str, slope: float = 0.01) -> list[str]:
    return graph.add("LeakyRelu", x, alpha=slope)


def _square(graph: Graph, _: Sizes, x: str) -> list[str]:
    return graph.add("Mul", x, x)


def _rsqrt(graph: Graph, _: Sizes, x: str) -> list[str]:
    return graph.add("Reciprocal", *graph.add("Sqrt", x))


def _addmm(graph: Graph, _: Sizes, offset: Any, x: str, weight: Any) -> list[str]:
    return graph.add("Gemm", x, weight, offset)


def _conv2d(
    graph: Graph,
    _: Sizes,
    x: str,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> list[str]:
    return graph.add("Conv", x, weight, *_given(bias), **_window(stride, padding, dilation), group=groups)


def _conv_transpose2d(
    graph: Graph,
    _: Sizes,
    x: str,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> list[str]:
    attributes: dict[str, Any] = {
        **_window(stride, padding, dilation),
        "output_padding": _pair(output_padding),
        "group": groups,
    }
    return graph.add("ConvTranspose", x, weight, *_given(bias), **attributes)


def _avg_pool2d(
    graph: Graph, _: Sizes, x: str, kernel: Sequence[int], stride: Sequence[int] = (), padding: Any = 0
) -> list[str]:
    attributes: dict[str, Any] = {
        "kernel_shape": _pair(kernel),
        "strides": _pair(stride or kernel),
        "pads": 2 * _pair(padding),
    }
    return graph.add("AveragePool", x, count_include_pad=1, **attributes)


def _batch_norm(
    graph: Graph,
    _: Sizes,
    x: str,
    weight: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    training: bool,
    _momentum: float,
    epsilon: float,
    _cudnn: bool,
) -> list[str]:
    if training:
        raise NotImplementedError("batch_norm in training mode")
    return graph.add("BatchNormalization", x, weight, bias, mean, variance, epsilon=epsilon)


def _upsample_nearest2d(graph: Graph, _: Sizes, x: str, _size: None, scales: Sequence[float]) -> list[str]:
    factors = np.array([1, 1, *scales], np.float32)
    attributes: dict[str, Any] = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    return graph.add("Resize", x, "", factors, **attributes)


def _pixel_shuffle(graph: Graph, _: Sizes, x: str, factor: int) -> list[str]:
    return graph.add("DepthToSpace", x, blocksize=factor, mode="CRD")


def _pixel_unshuffle(graph: Graph, sizes: Sizes, x: str, factor: int) -> list[str]:
    # SpaceToDepth puts the channels of one position of the block side by side.
    channels = sizes[0][1]
    order = np.arange(channels).reshape(factor**2, -1).T.ravel()
    return graph.add("Gather", *graph.add("SpaceToDepth", x, blocksize=factor), order, axis=1)


def _reshape(graph: Graph, sizes: Sizes, x: str, *_shape: Any) -> list[str]:
    return graph.add("Reshape", x, graph.shape(sizes))


def _permute(graph: Graph, _: Sizes, x: str, axes: Sequence[int]) -> list[str]:
    return graph.add("Transpose", x, perm=axes)


def _slice(
    graph: Graph, _: Sizes, x: str, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> list[str]:
    largest = np.iinfo(np.int64).max
    bounds = (start or 0, largest if end is None else end, axis, step)
    return graph.add("Slice", x, *(np.array([bound]) for bound in bounds))


def _cat(graph: Graph, _: Sizes, parts: Sequence[Any], axis: int = 0) -> list[str]:
    return graph.add("Concat", *parts, axis=axis)


def _stack(graph: Graph, _: Sizes, parts: Sequence[Any], axis: int = 0) -> list[str]:
    wider = [graph.add("Unsqueeze", part, np.array([axis]))[0] for part in parts]
    return graph.add("Concat", *wider, axis=axis)


def _chunk(graph: Graph, _: Sizes, x: str, chunks: int, axis: int = 0) -> list[str]:
    return graph.add("Split", x, outputs=chunks, axis=axis, num_outputs=chunks)


def _split_with_sizes(graph: Graph, _: Sizes, x: str, parts: Sequence[int], axis: int = 0) -> list[str]:
    return graph.add("Split", x, np.array(parts), outputs=len(parts), axis=axis)


def _given(bias: Any) -> list[Any]:
    return [] if bias is None else [bias]


def _pair(sides: Any) -> list[int]:
    """One number for both sides, or one each."""
    each = [sides] if isinstance(sides, int) else list(sides)
    return each * (2 // len(each))


def _window(stride: Any, padding: Any, dilation: Any) -> dict[str, Any]:
    return {"strides": _pair(stride), "pads": 2 * _pair(padding), "dilations": _pair(dilation)}


OPERATORS: dict[str, Operator] = {
    "abs": _simple("Abs"),
    "add": _simple("Add"),
    "addmm": _addmm,
    "avg_pool2d": _avg_pool2d,
    "batch_norm": _batch_norm,
    "cat": _cat,
    "chunk": _chunk,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "div": _simple("Div"),
    "flatten": _reshape,
    "leaky_relu": _leaky_relu,
    "matmul": _simple("MatMul"),
    "mul": _simple("Mul"),
    "permute": _permute,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "relu": _simple("Relu"),
    "reshape": _reshape,
    "rsqrt": _rsqrt,
    "sigmoid": _simple("Sigmoid"),
    "slice": _slice,
    "split_with_sizes": _split_with_sizes,
    "sqrt": _simple("Sqrt"),
    "square": _square,
    "stack": _stack,
    "sub": _simple("Sub"),
    "tanh": _simple("Tanh"),
    "upsample_nearest2d": _upsample_nearest2d,
    "view": _reshape,
}
"""By the name of the ATen operator, without the underscore of those that work in place."""
