"""The simulated kernel takes requests and gives replies."""

from subfunction.kernel import uapi
from subfunction.kernel.address import Handle
from subfunction.kernel.netlink.transport import Transport
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import NetlinkProtocol
from subfunction_simulator.kernel.driver_core.pending_work import Gate, PendingWork, no_work
from subfunction_simulator.kernel.driver_core.tree import WatchedSysfs
from subfunction_simulator.kernel.families.control import NLCTRL_ID, Control
from subfunction_simulator.kernel.families.devlink import Devlink, handle_of
from subfunction_simulator.kernel.families.route import Route
from subfunction_simulator.kernel.families.vdpa import VDPA_ID, Vdpa
from subfunction_simulator.kernel.fault_injection import FaultInjection
from subfunction_simulator.kernel.inprocess import InProcess
from subfunction_simulator.kernel.netlink import wire
from subfunction_simulator.kernel.netlink.announce import DEVLINK_ID, Listener
from subfunction_simulator.kernel.netlink.uapi import RouteMessage
from subfunction_simulator.kernel.netlink.wire import Refusal, Request
from subfunction_simulator.kernel.network.link import INTERFACE

ENOENT = 2


class SimulatedKernel(FaultInjection):
    """A simulated kernel can be asked from several threads.

    Faults are ordered at `faults`; the other verbs change the world at once, behind the agent's back.
    """

    def _boot(self) -> None:
        super()._boot()
        self._devlink = Devlink(self.hardware)
        self._vdpa = Vdpa(self.hardware)
        self._route = Route(self.hardware)
        self._generic = Gate()
        """Generic netlink's mutex, which the families without parallel operations share: vdpa and nlctrl."""

    def transport(self) -> Transport:
        """Give a way in for this process, without threads or sockets between."""
        return InProcess(self)

    def sysfs(self) -> Sysfs:
        """Give sysfs as an agent of this process sees it."""
        return WatchedSysfs(self.tree, self.write)

    def answer(self, datagram: bytes, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> list[bytes]:
        """Run the requests of a datagram and give the datagrams that answer them; waits where a fault says so."""
        if protocol is NetlinkProtocol.UEVENT:
            return []
        route = protocol is NetlinkProtocol.ROUTE
        replies: list[bytes] = []
        for request in wire.requests(datagram, INTERFACE.size) if route else wire.requests(datagram):
            touches = not route and request.kind == DEVLINK_ID
            for hang in self.faults.hangs(self._find_touched(request)) if touches else ():
                hang.wait()
            with self.lock:
                self.schedule.clock.tick()
                self.schedule.run_due()
                answers = self._answer(request, route=route)
                if not self.faults.swallows():
                    replies.extend(answers)
        return replies

    def settle(self) -> None:
        """Let the firmware finish all that is not held."""
        with self.lock:
            self.schedule.run_all()

    def advance(self) -> None:
        """Let the firmware do what is due, as a server's timer does."""
        with self.lock:
            self.schedule.run_due()

    def seconds_to_next_work(self) -> float | None:
        """Say when a server's timer should call `advance`; None while the firmware has nothing to do."""
        with self.lock:
            due = self.schedule.next_due()
            return None if due is None else max(due - self.schedule.clock.now(), 0)

    def take_write(self, path: str, text: str) -> PendingWork:
        """Take note that user space wrote to an attribute of sysfs, and give what the writer waits for.

        Raises:
            Refusal: what write(2) fails with.
        """
        with self.lock:
            return self.tree.take_write(path, text) or no_work()

    def look(self, path: str) -> None:
        """Find out what user space wrote to a file of sysfs, if anything.

        Raises:
            Refusal: it was nothing that the kernel takes.
            FileNotFoundError: the file is gone.
        """
        with self.lock:
            self.tree.look(path)

    def write(self, path: str, text: str) -> None:
        """Write to an attribute of sysfs as a program does, and wait as long as the kernel does."""
        with self.lock:
            self.hardware.finish(self.take_write(path, text))

    def join(self, group: int, listener: Listener, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> None:
        """Let `listener` hear the notifications of a multicast group."""
        with self.lock:
            self.hardware.announcer.join(protocol, group, listener)

    def leave(self, listener: Listener) -> None:
        """Let `listener` hear nothing any more."""
        with self.lock:
            self.hardware.announcer.leave(listener)

    @staticmethod
    def _find_touched(request: Request) -> Handle | None:
        try:
            return handle_of(request.attributes)
        except Refusal:
            return None

    def _answer(self, request: Request, *, route: bool) -> list[bytes]:
        lowest = RouteMessage.NEWLINK if route else NLCTRL_ID
        if not request.flags & uapi.NLM_F_REQUEST or request.kind < lowest:
            return [wire.acknowledgement(request)] if request.flags & uapi.NLM_F_ACK else []
        self.hardware.remark = ""
        try:
            bodies = self._route.answer(request) if route else self._bodies(request)
        except Refusal as refusal:
            return [wire.end_dump(request, refusal) if request.is_dump else wire.acknowledgement(request, refusal)]
        if request.is_dump:
            return wire.dump(request, bodies, torn=self.faults.torn(), kind=RouteMessage.NEWLINK if route else None)
        multi = request.kind == DEVLINK_ID and request.command == uapi.Command.RESOURCE_DUMP
        kind = RouteMessage.NEWLINK if route else None
        replies = [wire.reply(request, body, uapi.NLM_F_MULTI if multi else 0, kind=kind) for body in bodies]
        if multi:
            # A dump by another road: it ends in a DONE without an error code, and is acknowledged all the same.
            replies.append(wire.message(uapi.NLMSG_DONE, uapi.NLM_F_MULTI, request.sequence, request.port, b""))
        if request.flags & uapi.NLM_F_ACK:
            replies.append(wire.acknowledgement(request, remark=self.hardware.remark))
        return replies

    def _bodies(self, request: Request) -> list[bytes]:
        if request.kind == DEVLINK_ID and self.topology.devlink:
            return self._devlink.answer(request)
        if request.kind == NLCTRL_ID:
            self.hardware.pass_gate(self._generic)
            return Control(devlink=self.topology.devlink, vdpa=self.modules.vdpa).answer(request)
        if request.kind == VDPA_ID and self.modules.vdpa:
            return self._one_at_a_time(request)
        raise Refusal(ENOENT)

    def _one_at_a_time(self, request: Request) -> list[bytes]:
        self.hardware.pass_gate(self._generic)
        turn = PendingWork()
        self._generic.shut_during(turn)
        try:
            self.hardware.pass_gate(self.hardware.vdpa.gate)
            return self._vdpa.answer(request)
        finally:
            turn.end()
            self.lock.notify_all()
