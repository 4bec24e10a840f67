"""The ground itself: the real drivers in the saved state, over three physical functions of the emulated firmware."""

from pathlib import Path

import pytest

from harness.console import Console
from harness.errors import KernelFault
from harness.firmware import Command, Status
from harness.mlx5 import MODULES, Mlx5
from harness.mlx5_drivers import configuration_header
from harness.nic import AUX
from harness.snapshot import Snapshot, build_snapshot
from harness.topology import MLX5
from harness.wait import until

pytestmark = pytest.mark.ground("real mlx5")

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"
WARNED = """[    1.000000] ------------[ cut here ]------------
[    1.000001] WARNING: CPU: 0 PID: 12 at net/devlink/core.c:467 devlink_free+0x10/0x20
[    1.000002] Call Trace:
[    1.000003] ---[ end trace 0000000000000000 ]---
"""


@pytest.fixture(scope="module")
def real() -> Snapshot:
    return build_snapshot(MLX5)


class TestSaved:
    def test_every_driver_is_loaded_and_has_every_function(self, real: Snapshot) -> None:
        with real.restore() as machine:
            loaded = [line.split()[0] for line in machine.run("cat /proc/modules").stdout.splitlines()]
            assert [name for name in reversed(loaded) if name in MODULES] == list(MODULES)
            mlx5 = Mlx5(machine)
            assert mlx5.addresses == ("0000:05:00.0", "0000:05:00.1", "0000:81:00.0")
            for address in mlx5.addresses:
                folder = f"/sys/bus/pci/devices/{address}"
                assert machine.run(f"cat {folder}/vendor {folder}/device").stdout == "0x15b3\n0x101d\n"
                assert machine.run(f"readlink {folder}/driver").stdout.endswith("/mlx5_core\n")
                shown = mlx5.devlink("dev", "eswitch", "show", f"pci/{address}")["dev"][f"pci/{address}"]
                assert shown["mode"] == "legacy"
            assert [port["port"] for port in mlx5.ports("physical").values()] == [0, 1, 0]
            machine.console.check()

    def test_two_machines_of_one_state_go_on_by_themselves(self, mlx5: Mlx5, real: Snapshot) -> None:
        _, first = mlx5.attach(CARD, 88)
        with real.restore() as machine:
            other = Mlx5(machine)
            other.reset()
            assert other.functions() == []
            _, second = other.attach(CARD, 88)
            for each, device in ((mlx5, first), (other, second)):
                each.enable(device, "enable_roce", "enable_eth", "enable_rdma", "enable_vnet")
                assert len(each.ports("virtual")) == 1
            machine.console.check()


class TestModules:
    def test_all_unload_without_a_trace_and_load_again(self, mlx5: Mlx5) -> None:
        machine = mlx5.machine
        handle, device = mlx5.attach(CARD, 88)
        mlx5.enable(device, "enable_roce", "enable_eth", "enable_rdma", "enable_vnet")
        mlx5.unload()
        for gone in (f"ls {AUX} /sys/class/infiniband", "devlink dev show", "ls -d /sys/kernel/debug/mlx5fw"):
            said = machine.run(gone, check=False).stdout
            assert [line for line in said.split() if not line.endswith(":")] == []
        assert [name for name in machine.run("ls /sys/bus/pci/devices").stdout.split() if name in mlx5.addresses] == []
        mlx5.load()
        mlx5.reset()
        assert mlx5.attach(CARD, 88)[0] == handle

    def test_the_firmware_takes_its_parameters(self, mlx5: Mlx5) -> None:
        mlx5.unload()
        mlx5.load(max_sfs=2, swap_ports=1)
        try:
            assert [port["port"] for port in mlx5.ports("physical").values()] == [1, 0, 0]
            mlx5.reset()
            add = f"devlink port add {CARD} flavour pcisf"
            assert "Invalid pfnum supplied" in mlx5.refusal(f"{add} pfnum 0 sfnum 10")
            shown = [mlx5.port(mlx5.add(CARD, number, pf=1))["pfnum"] for number in (10, 20)]
            assert "No space left" in mlx5.refusal(f"{add} pfnum 1 sfnum 30")
            # Linux 6.12 counts physical ports, not PCI functions.
            assert shown == [1, 1]
        finally:
            mlx5.unload()
            mlx5.load()

    def test_a_firmware_without_sub_functions_lets_none_be_added(self, mlx5: Mlx5) -> None:
        mlx5.unload()
        mlx5.load(max_sfs=0)
        try:
            mlx5.reset()
            said = mlx5.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
            assert "Error: mlx5_core: SF ports are not supported." in said
        finally:
            mlx5.unload()
            mlx5.load()


class TestFirmware:
    def test_the_commands_of_a_life_are_told_in_their_order(self, mlx5: Mlx5) -> None:
        firmware = mlx5.faults(PCI)
        handle = mlx5.add(CARD, 88)
        mlx5.set(handle, "state", "active")
        mlx5.wait(handle, "attached")
        mlx5.set(handle, "state", "inactive")
        mlx5.wait(handle, "detached")
        mlx5.delete(handle)
        life = {"ALLOC_SF", "ENABLE_HCA", "INIT_HCA", "TEARDOWN_HCA", "DISABLE_HCA", "DEALLOC_SF"}
        seen = [(command.opcode, command.owner) for command in firmware.commands() if command.opcode in life]
        assert seen == [
            ("ALLOC_SF", None), ("ENABLE_HCA", 88), ("ENABLE_HCA", 88), ("DISABLE_HCA", 88), ("DISABLE_HCA", 88),
            ("DEALLOC_SF", 88),
        ]  # fmt: skip
        assert {command.status for command in firmware.commands()} == {Status.OK}
        assert firmware.counts()["ALLOC_SF"] == (1, 0)
        assert not life & mlx5.faults("0000:81:00.0").counts().keys()
        firmware.forget()
        assert not life & firmware.counts().keys()

    def test_a_command_that_fails_is_told_with_its_status(self, mlx5: Mlx5) -> None:
        firmware = mlx5.faults(PCI)
        firmware.fail_next("ALLOC_SF", Status.NO_RESOURCES, 2)
        firmware.slow("DEALLOC_SF", 100, owner=88)
        assert mlx5.machine.run(f"cat {firmware.folder}/fail_next").stdout == "ALLOC_SF 0xf 2\n"
        mlx5.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
        assert Command("ALLOC_SF", None, Status.NO_RESOURCES) in firmware.commands()
        assert firmware.counts()["ALLOC_SF"] == (1, 1)
        mlx5.reset()
        assert mlx5.machine.run(f"cat {firmware.folder}/fail_next {firmware.folder}/slow").stdout == ""
        mlx5.add(CARD, 88)

    def test_a_function_that_hangs_stays_until_it_is_reset(self, mlx5: Mlx5) -> None:
        handle, _ = mlx5.attach(CARD, 88)
        mlx5.faults(PCI).hang_detach(on=True)
        mlx5.set(handle, "state", "inactive")
        mlx5.delete(handle)
        assert "File exists" in mlx5.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
        mlx5.reset()
        until(
            lambda: mlx5.machine.run(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88", check=False).code,
            lambda code: code == 0,
        )


def test_the_drivers_differ_from_debians_by_sub_functions() -> None:
    assert "#define CONFIG_MLX5_SF 1\n" in configuration_header()
    assert "#define CONFIG_MLX5_VDPA_NET_MODULE 1\n" in configuration_header()
    assert "#define CONFIG_MLX5_FPGA" not in configuration_header()


def test_one_warning_can_be_allowed_by_its_text_and_no_other(tmp_path: Path) -> None:
    console = Console(tmp_path / "console")
    console.path.write_text(f"before\n{WARNED}after\n")
    console.check(allowed="devlink_free")
    with pytest.raises(KernelFault, match="devlink_free"):
        console.check()
    with pytest.raises(KernelFault, match="devlink_free"):
        console.check(allowed="devlink_alloc")
    console.path.write_text(2 * WARNED)
    with pytest.raises(KernelFault, match="devlink_free"):
        console.check(allowed="devlink_free")
