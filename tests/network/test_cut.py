"""Cutting a graph: only what the heads need is left, in the order asked for, with nodes replaced on the way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, fx

from backlight import Network
from backlight.network.cut import ancestors, cut
from backlight.operators.reading import aten, operator_name
from conftest import captured_small_net


@pytest.fixture
def net() -> Network:
    """Return a small network: conv1, relu1, pool, conv2, relu2, fc."""
    return captured_small_net()


@pytest.fixture
def x() -> Tensor:
    """Return two images."""
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def called(module: fx.GraphModule) -> list[str]:
    return [operator_name(node) for node in module.graph.nodes if node.op == "call_function"]


def test_heads_are_computed_in_their_order_and_nothing_above_them(net: Network, x: Tensor) -> None:
    found = cut(net.module, [(net.node("pool"), None), (net.node("conv1"), None)])
    assert called(found)[:2] == ["conv2d", "relu"]
    assert not {"conv2d", "relu", "linear"} & set(called(found)[2:])
    pool, conv = found(x)
    assert (pool.shape, conv.shape) == ((2, 8, 8, 8), (2, 8, 16, 16))
    torch.testing.assert_close(pool, torch.max_pool2d(conv.relu(), 2), rtol=0, atol=0)


def test_a_head_is_permuted_as_asked(net: Network, x: Tensor) -> None:
    node = net.node("relu2")
    plain, turned, same = cut(net.module, [(node, None), (node, (0, 2, 3, 1)), (node, (0, 1, 2, 3))])(x)
    torch.testing.assert_close(turned, plain.permute(0, 2, 3, 1), rtol=0, atol=0)
    torch.testing.assert_close(same, plain, rtol=0, atol=0)


def test_weights_are_shared_and_the_network_is_left_as_it_was(net: Network) -> None:
    before = str(net.module.graph)
    found = cut(net.module, [(net.node("relu2"), None)])
    own = {buffer.data_ptr() for buffer in net.module.buffers()}
    assert {buffer.data_ptr() for buffer in found.buffers()} <= own
    assert str(net.module.graph) == before
    assert not found.training


def test_nodes_are_replaced_and_the_rest_is_copied(net: Network, x: Tensor) -> None:
    seen: list[str] = []

    def doubled(
        graph: fx.Graph, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> fx.Node | None:
        seen.append(operator_name(node))
        return graph.call_function(aten.mul.Tensor, (args[0], 2.0)) if node is net.node("relu1") else None

    conv = cut(net.module, [(net.node("conv1"), None)])(x)[0]
    found = cut(net.module, [(net.node("relu1"), None)], doubled)
    assert seen == ["conv2d", "relu"]
    torch.testing.assert_close(found(x)[0], 2 * conv, rtol=0, atol=0)
    (node,) = found.graph.find_nodes(op="call_function", target=aten.mul.Tensor)
    assert node.meta["val"].shape[1:] == (8, 16, 16)  # what stands for a node is described as the node was


def test_ancestors_are_the_heads_and_all_that_they_need(net: Network) -> None:
    node = net.node("relu1")
    names = {"x", net.node("conv1").name, node.name}
    assert {own.name for own in ancestors([node]) if own.op != "get_attr"} == names
    assert ancestors([node]) < ancestors([net.node("fc"), node])
    assert ancestors([]) == set()
