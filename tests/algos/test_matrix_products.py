"""What the compiler's pass makes of products: other forms, the same numbers."""

import torch
from torch import nn

from lop_lightning.algos.matrix_products import FEW, TALL, MatrixProducts


def compiled_graphs(function, *inputs):
    """The result of a compiled function, and the products that were left after the pass."""
    seen = []

    class Watched(MatrixProducts):
        def __call__(self, graph):
            super().__call__(graph)
            seen.extend((n.target, tuple(n.meta["val"].shape)) for n in graph.nodes if n.op == "call_function")

        def uuid(self):
            return None  # kept in no cache: it must be called

    options = {"post_grad_custom_pre_pass": Watched()}
    return torch.compile(function, fullgraph=True, dynamic=False, options=options)(*inputs), seen


def test_a_tall_input_is_taken_across():
    torch.manual_seed(0)
    for examples, outputs, is_tall in ((TALL, 5, True), (TALL - 1, 5, False), (TALL, FEW + 1, False)):
        layer, x = nn.Linear(7, outputs), torch.randn(examples, 7)
        with torch.no_grad():
            result, seen = compiled_graphs(lambda x, layer=layer: torch.relu(layer(x)), x)
            torch.testing.assert_close(result, torch.relu(layer(x)))
        products = [shape for target, shape in seen if target is torch.ops.aten.addmm.default]
        assert products == [(outputs, examples) if is_tall else (examples, outputs)]


def test_an_outer_product_is_no_product():
    x, y = torch.randn(6, 1), torch.randn(1, 5)
    result, seen = compiled_graphs(lambda x, y: x @ y, x, y)
    torch.testing.assert_close(result, x @ y)
    assert [target for target, shape in seen if shape == (6, 5)] == [torch.ops.aten.mul.Tensor]
