"""The life of a mediated device: of a type that its parent offers, by a UUID, with a VFIO group of its own."""

import threading

import pytest
from tests.contract.instruments import find_mediated
from tests.contract.node import Node, until

from subfunction.errors import Gone, KernelError, NoMediatedType
from subfunction.kernel.address import Handle
from subfunction.kernel.bus.mdev import MediatedDevice, MediatedType, create, derive_uuid, list_types, remove

pytestmark = pytest.mark.needs("mediated")
UUID = derive_uuid("7f0c0a52-0b7c-4a3e-9c0d-3f2f0d6a9a11")


def offer(node: Node) -> tuple[Handle, MediatedType]:
    """Find a parent of mediated devices: a function of the card, or a sub-function."""
    for handle in node.parents:
        if found := list_types(node.sysfs, handle):
            return handle, found[0]
    instance = node.attach(node.new(88))
    (first, *_) = list_types(node.sysfs, instance)
    return instance, first


def seen(node: Node, uuid: str = UUID) -> MediatedDevice:
    device = find_mediated(node.sysfs, uuid)
    assert device is not None
    return device


def available(node: Node, handle: Handle, type_id: str) -> int | None:
    return next(found.available for found in list_types(node.sysfs, handle) if found.id == type_id)


def test_a_parent_says_what_it_offers_and_how_many(node: Node) -> None:
    _, offered = offer(node)
    assert offered.api == "vfio-pci"
    assert offered.available is not None
    assert offered.available > 0


def test_a_device_is_found_by_its_uuid_with_type_and_nodes(node: Node) -> None:
    handle, offered = offer(node)
    assert find_mediated(node.sysfs, UUID) is None
    create(node.sysfs, handle, offered.id, UUID)
    device = until(lambda: find_mediated(node.sysfs, UUID), lambda found: found and found.vfio)
    assert device is not None
    assert (device.uuid, device.type_id, device.removable) == (UUID, offered.id, True)
    assert device.path == f"{node.path(handle)}/{UUID}"
    assert device.driver is not None
    assert device.vfio is not None
    assert device.vfio.group.name.startswith("vfio/")
    assert device.vfio.container is not None
    assert device.vfio.container.name == "vfio/vfio"
    until(lambda: available(node, handle, offered.id), lambda left: left == (offered.available or 0) - 1)
    remove(node.sysfs, UUID)


def test_a_removed_device_is_gone_and_leaves_room(node: Node) -> None:
    handle, offered = offer(node)
    create(node.sysfs, handle, offered.id, UUID)
    until(lambda: find_mediated(node.sysfs, UUID), bool)
    remove(node.sysfs, UUID)
    until(lambda: find_mediated(node.sysfs, UUID), lambda device: device is None)
    until(lambda: available(node, handle, offered.id), lambda left: left == offered.available)
    with pytest.raises(Gone):
        remove(node.sysfs, UUID)


@pytest.mark.needs("answers-writes")
def test_a_uuid_is_one_devices_of_the_whole_node(node: Node) -> None:
    handle, offered = offer(node)
    create(node.sysfs, handle, offered.id, UUID)
    until(lambda: find_mediated(node.sysfs, UUID), bool)
    with pytest.raises(KernelError, match="File exists"):
        create(node.sysfs, handle, offered.id, UUID)
    remove(node.sysfs, UUID)


def test_a_type_that_is_not_offered_is_answered_with_those_that_are(node: Node) -> None:
    handle, offered = offer(node)
    with pytest.raises(NoMediatedType, match="no mediated device of type 'no-such-type'") as refused:
        create(node.sysfs, handle, "no-such-type", UUID)
    assert offered.id in refused.value.hint


def test_a_parent_that_offers_nothing_says_so(node: Node) -> None:
    assert list_types(node.sysfs, Handle("pci", "0000:ff:1f.7")) == ()
    with pytest.raises(NoMediatedType) as refused:
        create(node.sysfs, Handle("pci", "0000:ff:1f.7"), "any", UUID)
    assert "no mediated devices at all" in refused.value.hint


@pytest.mark.needs("answers-writes")
def test_a_type_of_which_none_is_left_says_so(node: Node) -> None:
    handle, offered = offer(node)
    made = [derive_uuid(str(number)) for number in range(offered.available or 0)]
    for uuid in made:
        create(node.sysfs, handle, offered.id, uuid)
    until(lambda: available(node, handle, offered.id), lambda left: left == 0)
    with pytest.raises(NoMediatedType, match="no more mediated devices") as refused:
        create(node.sysfs, handle, offered.id, UUID)
    assert f"{offered.id} (0 left)" in refused.value.hint
    for uuid in made:
        remove(node.sysfs, uuid)


@pytest.mark.needs("answers-writes")
def test_while_a_removal_waits_for_who_has_the_device_open_everything_else_goes_on(node: Node) -> None:
    handle, offered = offer(node)
    create(node.sysfs, handle, offered.id, UUID)
    device = until(lambda: find_mediated(node.sysfs, UUID), lambda found: found and found.vfio)
    assert device is not None
    assert device.vfio is not None
    with node.console.open_in_group(UUID, device.vfio.group.name):
        waiting = threading.Thread(target=lambda: remove(node.sysfs, UUID), daemon=True)
        waiting.start()
        # The bus forgets it at once; below its parent it stands until it is closed.
        until(lambda: find_mediated(node.sysfs, UUID), lambda found: found is None)
        below = MediatedDevice.of(node.sysfs, handle, UUID)
        assert below is not None
        assert (below.inode, below.removable) == (device.inode, False)
        with pytest.raises(KernelError):
            create(node.sysfs, handle, offered.id, UUID)
        assert node.physical(node.spare).port_number == 0
        assert waiting.is_alive()
    waiting.join(20)
    assert not waiting.is_alive()
    assert MediatedDevice.of(node.sysfs, handle, UUID) is None
