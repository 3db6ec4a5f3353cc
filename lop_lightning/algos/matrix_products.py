"""A pass for PyTorch's compiler: matrix products in the form that costs least.

**Outer products.** The gradient of a weight on a batch of one is δ xᵀ. The compiler hands it to a matrix library as a
product with one inner column, which writes the whole matrix out, only for the optimiser's step to read it back. Written
as a broadcast product it is fused into the step. A memory-bound network (784-2000³-10, batch 1) then trains twice as
fast (``make bench``).

**Tall inputs.** For thousands of examples and a few dozen outputs a CPU's library is half as quick again on W Xᵀ, whose
long side is the last, as on X Wᵀ.
"""

from __future__ import annotations

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch.fx import Graph, Node

_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.bmm.default)
TALL, FEW = 2048, 64
"""Examples from which an input is tall, and outputs up to which a layer has few."""


class MatrixProducts(CustomGraphPass):
    """Rewrites ``[.., m, 1] @ [.., 1, n]`` as ``[.., m, 1] * [.., 1, n]``, and b + X Wᵀ of a tall X as (b + W Xᵀ)ᵀ."""

    def __call__(self, graph: Graph) -> None:
        """Rewrites the graph in place."""
        for node in list(graph.nodes):
            if node.op != "call_function":
                continue
            if node.target in _PRODUCTS and node.args[0].meta["val"].shape[-1] == 1:
                with graph.inserting_before(node):
                    _replace(graph, node, graph.call_function(torch.ops.aten.mul.Tensor, node.args))
            elif node.target is torch.ops.aten.addmm.default and _is_tall(node):
                with graph.inserting_before(node):
                    _replace(graph, node, _transposed(graph, node))

    def uuid(self) -> str:
        """Names this version of the pass in the compiler's cache."""
        return "lop_lightning.matrix_products.1"


def _is_tall(node: Node) -> bool:
    x, weight = node.args[1].meta["val"], node.args[2].meta["val"]  # type: ignore[union-attr]
    bias = node.args[0].meta["val"]  # type: ignore[union-attr]
    on_cpu = x.device.type == "cpu" and bias.ndim == 1 and not node.kwargs
    return on_cpu and x.shape[0] >= TALL and weight.shape[1] <= FEW


def _transposed(graph: Graph, node: Node) -> Node:
    bias, x, weight = node.args

    def call(target: object, *args: object) -> Node:
        made = graph.call_function(target, args)  # type: ignore[arg-type]
        shown = [arg.meta["val"] if isinstance(arg, Node) else arg for arg in args]
        made.meta["val"] = target(*shown)  # type: ignore[operator]
        return made

    across = [call(torch.ops.aten.permute.default, side, [1, 0]) for side in (weight, x)]
    product = call(torch.ops.aten.addmm.default, call(torch.ops.aten.unsqueeze.default, bias, 1), *across)
    return call(torch.ops.aten.permute.default, product, [1, 0])


def _replace(graph: Graph, node: Node, other: Node) -> None:
    value = other.meta.get("val", node.meta["val"])
    other.meta.update(node.meta)
    other.meta["val"] = value
    node.replace_all_uses_with(other)
    graph.erase_node(node)
