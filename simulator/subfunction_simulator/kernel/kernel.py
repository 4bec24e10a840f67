"""The simulated kernel: requests in, replies out."""

from subfunction.kernel import uapi
from subfunction.kernel.address import Handle
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.transport import Transport
from subfunction_simulator.kernel import wire
from subfunction_simulator.kernel.announce import CONFIG_GROUP, DEVLINK_ID, Listener
from subfunction_simulator.kernel.board import Board
from subfunction_simulator.kernel.control import NLCTRL_ID, Control
from subfunction_simulator.kernel.devlink import Devlink, handle_of
from subfunction_simulator.kernel.inprocess import InProcess
from subfunction_simulator.kernel.tree import WatchedSysfs
from subfunction_simulator.kernel.wire import Refusal, Request

ENOENT = 2


class SimulatedKernel(Board):
    """A node's kernel, safe to be asked from several threads.

    Faults are ordered at `faults`; what the board has more changes the world behind everybody's back, at once.
    """

    def _boot(self) -> None:
        super()._boot()
        self._control = Control(devlink=self.topology.devlink)
        self._devlink = Devlink(self.machine)

    def transport(self) -> Transport:
        """Give a way in for this process, without threads or sockets between."""
        return InProcess(self)

    def sysfs(self) -> Sysfs:
        """Give sysfs as an agent of this process sees it."""
        return WatchedSysfs(self.tree, self.written)

    def answer(self, datagram: bytes) -> list[bytes]:
        """Run the requests of a datagram and give the datagrams that answer them; waits where a fault says so."""
        replies: list[bytes] = []
        for request in wire.requests(datagram):
            for hang in self.faults.hangs(self._touched(request)) if request.kind == DEVLINK_ID else ():
                hang.wait()
            with self.lock:
                self.schedule.clock.tick()
                self.schedule.run_due()
                answers = self._answer(request)
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

    def written(self, path: str, text: str) -> None:
        """Take note that user space wrote to an attribute of sysfs."""
        with self.lock:
            self.tree.written(path, text)

    def join(self, group: int, listener: Listener) -> None:
        """Let `listener` hear the notifications of a multicast group."""
        with self.lock:
            if group == CONFIG_GROUP:
                self.machine.announcer.listeners.append(listener)

    def leave(self, listener: Listener) -> None:
        """Let `listener` hear nothing any more."""
        with self.lock:
            if listener in self.machine.announcer.listeners:
                self.machine.announcer.listeners.remove(listener)

    @staticmethod
    def _touched(request: Request) -> Handle | None:
        try:
            return handle_of(request.attributes)
        except Refusal:
            return None

    def _answer(self, request: Request) -> list[bytes]:
        if not request.flags & uapi.NLM_F_REQUEST or request.kind < NLCTRL_ID:
            return [wire.acknowledgement(request)] if request.flags & uapi.NLM_F_ACK else []
        try:
            bodies = self._bodies(request)
        except Refusal as refusal:
            return [wire.done(request, refusal) if request.is_dump else wire.acknowledgement(request, refusal)]
        if request.is_dump:
            return wire.dump(request, bodies, torn=self.faults.torn())
        multi = request.kind == DEVLINK_ID and request.command == uapi.Command.RESOURCE_DUMP
        replies = [wire.reply(request, body, uapi.NLM_F_MULTI if multi else 0) for body in bodies]
        if multi:
            # A dump by another road: it ends in a DONE without an error code, and is acknowledged all the same.
            replies.append(wire.message(uapi.NLMSG_DONE, uapi.NLM_F_MULTI, request.sequence, request.port, b""))
        if request.flags & uapi.NLM_F_ACK:
            replies.append(wire.acknowledgement(request))
        return replies

    def _bodies(self, request: Request) -> list[bytes]:
        if request.kind == NLCTRL_ID:
            return self._control.answer(request)
        if request.kind == DEVLINK_ID and self.topology.devlink:
            return self._devlink.answer(request)
        raise Refusal(ENOENT)
