from .conftest import Node

async def test_x(node: Node) -> None:
    assert isinstance(node, Node)
