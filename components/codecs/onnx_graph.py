"""A function of torch as an ONNX model: the operators that it calls are recorded while it runs.

It runs on two sizes of the input. What grows with the input's height, with its width or with both grows so in the
model. A third size checks the model against the function.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from ..errors import RatewrightError, one_line
from .exported import session
from .onnx_operators import OPERATORS, Sizes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_OPSET, _IR_VERSION = 20, 10
_RECORDED = ((1, 1), (2, 3))
"""Heights and widths of the two inputs, as multiples of the smallest."""
_CHECKED = (3, 2)
_TOLERANCE = 1e-4
"""Of the largest magnitude of the output: sums in another order differ by less."""

Function = Callable[[Tensor], Tensor]


def onnx_model(function: Function, channels: int, multiple: int) -> bytes:
    """A function of one tensor as a serialised ONNX model, the same bytes each time.

    Args:
        function: Takes (1, channels, H, W) float32 and computes by `OPERATORS`, with one output.
        channels: Of the input.
        multiple: H and W are multiples of it.

    Raises:
        RatewrightError: The function calls another operator, or the model does not compute the same.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.rand(1, channels, height * multiple, width * multiple, generator=generator)
        for height, width in (*_RECORDED, _CHECKED)
    ]
    with torch.inference_mode():
        content = _Graph(*(_Recording(function, x) for x in inputs[:2])).model().SerializeToString(deterministic=True)
        expected = function(inputs[2]).numpy()
    try:
        (found,) = session(content, 1).run(None, {"input": inputs[2].numpy()})
    except Exception as error:
        raise RatewrightError(f"its ONNX model does not run ({one_line(error)})") from error
    if found.shape != expected.shape or np.abs(found - expected).max() > _TOLERANCE * np.abs(expected).max(initial=1.0):
        raise RatewrightError("its ONNX model does not compute what torch does")
    return bytes(content)


class _Step(NamedTuple):
    """A call of an operator. `constants` are the shapes of the tensors that the input has no part in."""

    operator: str
    constants: tuple[tuple[int, ...], ...]
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]
    results: Sequence[Tensor]


class _Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The calls that a function's output comes from. In inference mode they are those of torch's own functions.

    Attributes:
        x, output: The function's input and output.
        steps: The calls, in order. Those that the input has no part in are left out: their results are constants.
    """

    def __init__(self, function: Function, x: Tensor):
        super().__init__()  # type: ignore[no-untyped-call]
        self.x, self.steps = x, list[_Step]()
        self._followed = {id(x)}
        with self:
            self.output = function(x)

    def __torch_dispatch__(
        self, call: Any, _types: Any, arguments: tuple[Any, ...] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        result = call(*arguments, **(named or {}))
        tensors = _tensors((arguments, named))
        constants = tuple(tuple(each.shape) for each in tensors if id(each) not in self._followed)
        if len(constants) < len(tensors):
            results = _tensors(result)
            self._followed |= {id(each) for each in results}  # which `steps` keeps, so that no id is used again
            self.steps.append(_Step(call.overloadpacket.__name__, constants, arguments, named or {}, results))
        return result


class _Graph:
    """The nodes and constants of the model of two recordings."""

    def __init__(self, first: _Recording, second: _Recording):
        self._first = first
        self._nodes, self._constants = list["NodeProto"](), list["TensorProto"]()
        self._names: dict[int, str] = {id(first.x): "input"}
        self._kept = list[Any]()  # so that no id is used again
        if [step[:2] for step in first.steps] != [step[:2] for step in second.steps]:
            raise RatewrightError("it computes otherwise for another size")
        for step, again in zip(first.steps, second.steps, strict=True):
            self._translate(step, (tuple(step.results[0].shape), tuple(again.results[0].shape)))

    def add(self, kind: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node. Inputs are names, tensors, arrays and numbers. Returns the names of its outputs."""
        from onnx.helper import make_node

        names = [f"{kind.lower()}_{len(self._nodes)}_{place}" for place in range(outputs)]
        self._nodes.append(make_node(kind, [self._name(each) for each in inputs], names, **attributes))
        return names

    def shape(self, sizes: Sizes) -> str:
        """The name of a shape that follows the input's."""
        known = [a if a == b else -1 for a, b in zip(*sizes, strict=True)]
        if known.count(-1) <= 1:
            return self._name(np.array(known))
        parts = [self._size(a, b) for a, b in zip(*sizes, strict=True)]
        return self.add("Concat", *parts, axis=0)[0]

    def model(self) -> "ModelProto":
        """The whole."""
        from onnx import TensorProto
        from onnx.helper import make_graph, make_model, make_opsetid, make_tensor_value_info

        self.add("Identity", self._first.output)
        self._nodes[-1].output[0] = "output"
        channels = self._first.x.shape[1], self._first.output.shape[1]
        ends = [
            make_tensor_value_info(name, TensorProto.FLOAT, [1, count, f"{name}_height", f"{name}_width"])
            for name, count in zip(("input", "output"), channels, strict=True)
        ]
        graph = make_graph(self._nodes, "transform", ends[:1], ends[1:], self._constants)
        return make_model(graph, opset_imports=[make_opsetid("", _OPSET)], ir_version=_IR_VERSION)

    def _translate(self, step: _Step, sizes: Sizes) -> None:
        """Add the nodes of a call."""
        name = step.operator.removesuffix("_")
        if name == "to" and step.results[0].dtype == self._first.x.dtype:
            names = [self._name(step.arguments[0])]
        else:
            arguments, named = tree_map(self._known, (step.arguments, dict(step.named)))
            try:
                names = OPERATORS[name](self, sizes, *arguments, **named)
            except (KeyError, TypeError, NotImplementedError) as error:
                raise RatewrightError(
                    f"components.codecs.onnx_operators has no {name!r} as it is called here ({one_line(error)})"
                ) from error
        self._names |= {id(tensor): name for tensor, name in zip(step.results, names, strict=True)}

    def _known(self, value: Any) -> Any:
        """The name of a tensor that was computed; any other value itself."""
        return self._names.get(id(value), value) if isinstance(value, Tensor) else value

    def _size(self, first: int, second: int) -> str:
        """The name of a size (1,), from its values in both recordings."""
        if first == second:
            return self._name(np.array([first]))
        ratios = [b / a for a, b in zip(*_RECORDED, strict=True)]
        for axes in ((2,), (3,), (2, 3)):
            if second == first * prod(ratios[axis - 2] for axis in axes):
                each = prod(self._first.x.shape[axis] for axis in axes)
                sides = [self.add("Shape", "input", start=axis, end=axis + 1)[0] for axis in axes]
                whole = sides[0] if len(sides) == 1 else self.add("Mul", *sides)[0]
                return self.add("Div", *self.add("Mul", whole, np.array([first])), np.array([each]))[0]
        raise RatewrightError("a size in it is no multiple of the input's")

    def _name(self, value: Any) -> str:
        """The name of a value, which becomes a constant if it was not computed."""
        from onnx.numpy_helper import from_array

        if isinstance(value, str):
            return value
        if id(value) not in self._names:
            name = f"constant_{len(self._constants)}"
            self._constants.append(from_array(_array(value), name))
            self._names[id(value)] = name
            self._kept.append(value)
        return self._names[id(value)]


def _array(value: Any) -> Any:
    """A constant; numbers become float32, as the tensors that they meet are."""
    if isinstance(value, Tensor):
        return np.ascontiguousarray(value.numpy())
    return value if isinstance(value, np.ndarray) else np.array(value, np.float32)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
