"""The only file that imports Ryu or os-ken: one of them, the few names we use, and the OpenFlow thread.

The thread that calls `run` becomes the OpenFlow thread: it runs the framework's eventlet hub and
green tasks that switch only where they wait. Nothing is monkey-patched, so every other thread of the
process is an ordinary one, and reaches the OpenFlow thread by `call_soon` alone.

``HEDDLE_FRAMEWORK=auto|ryu|os-ken`` chooses; ``auto`` takes Ryu where it is installed, else os-ken.

From any thread: `call_soon`, `stop`. In the OpenFlow thread only: everything else.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import signal
import socket
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from topologies.errors import HeddleError, InputError

log = logging.getLogger(__name__)

T = TypeVar("T")

_DISTRIBUTIONS = {"ryu": "ryu", "os-ken": "os_ken"}
# Ryu's source package builds with an old setuptools only.
_INSTALL = {
    "ryu": "pip install 'heddle-sdn[ryu]' with its build constraint, see README.md",
    "os-ken": "pip install os-ken",
}
_MAX_CALLS = 10_000
_CLOSE_S = 5.0


def _choose(wanted: str) -> str:
    if wanted not in ("auto", *_DISTRIBUTIONS):
        raise InputError(f"HEDDLE_FRAMEWORK is {wanted!r}; set it to auto, ryu or os-ken")
    if wanted == "auto":
        wanted = "ryu" if importlib.util.find_spec("ryu") is not None else "os-ken"
    if importlib.util.find_spec(_DISTRIBUTIONS[wanted]) is None:
        raise HeddleError(
            f"the OpenFlow framework {wanted} is not installed; install it ({_INSTALL[wanted]}) "
            f"or choose another one by HEDDLE_FRAMEWORK"
        )
    return wanted


FRAMEWORK = _choose(os.environ.get("HEDDLE_FRAMEWORK", "auto"))
"""``ryu`` or ``os-ken``."""
VERSION = importlib.metadata.version(FRAMEWORK)

# Their modules read these when they are first imported; os-ken's default hub loses timeouts and errors.
os.environ["RYU_HUB_TYPE"] = os.environ["OSKEN_HUB_TYPE"] = "eventlet"


def _load(module: str) -> Any:
    return importlib.import_module(f"{_DISTRIBUTIONS[FRAMEWORK]}.{module}")


with warnings.catch_warnings():
    # eventlet says that it is deprecated, and Ryu uses much that is; both are known here.
    warnings.simplefilter("ignore")
    import eventlet
    import eventlet.wsgi

    if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
        # Ryu's app manager imports a name that eventlet has dropped.
        eventlet.wsgi.ALREADY_HANDLED = object()
    _app_manager = _load("base.app_manager")
    _controller = _load("controller.controller")
    _handler = _load("controller.handler")
    _protocol = _load("ofproto.ofproto_protocol")
    _hub: Any = _load("lib.hub")
    ofp_event: Any = _load("controller.ofp_event")
    ofproto: Any = _load("ofproto.ofproto_v1_3")
    ofproto_parser: Any = _load("ofproto.ofproto_v1_3_parser")

if _hub.HUB_TYPE != "eventlet":
    raise HeddleError(f"{FRAMEWORK} was imported before Heddle chose its hub; import controller.framework first")

OFP_VERSION = 0x04
"""OpenFlow 1.3, as the header says it."""

CONFIG: str = _handler.CONFIG_DISPATCHER
MAIN: str = _handler.MAIN_DISPATCHER
DEAD: str = _handler.DEAD_DISPATCHER

if TYPE_CHECKING:

    class App:
        """The framework's application (``RyuApp``, ``OSKenApp``)."""

        name: str
        logger: logging.Logger

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...
        def start(self) -> None: ...
        def close(self) -> None: ...
        def send_event_to_observers(self, ev: Any, state: str | None = None) -> None: ...

    class Protocol13:
        """What the framework's message classes need to build a message."""

        ofproto: Any
        ofproto_parser: Any

        def __init__(self, version: int | None = None) -> None: ...
        def set_version(self, version: int) -> None: ...

    class Datapath(Protocol13):
        """The framework's connection to a switch."""

        id: int | None
        socket: Any
        address: tuple[Any, ...]
        state: str | None
        is_active: bool
        ofp_brick: Any
        xid: int

        def __init__(self, socket: Any, address: tuple[Any, ...]) -> None: ...
        def set_state(self, state: str) -> None: ...
        def set_xid(self, msg: Any) -> int: ...

    class Event:
        """A flag that green tasks wait for."""

        def set(self) -> None: ...
        def clear(self) -> None: ...
        def is_set(self) -> bool: ...
        def wait(self, timeout: float | None = None) -> bool: ...

    def set_ev_cls(ev_cls: Any, dispatchers: Any = None) -> Callable[[T], T]:
        """Mark a method of an `App` as the handler of an event class in these phases."""
        ...
else:
    App = _app_manager.RyuApp if FRAMEWORK == "ryu" else _app_manager.OSKenApp
    Protocol13 = _protocol.ProtocolDesc
    Datapath = _controller.Datapath
    Event = _hub.Event
    set_ev_cls = _handler.set_ev_cls


class Task:
    """A green task under way in the OpenFlow thread."""

    def __init__(self, thread: Any) -> None:
        self._thread = thread

    def wait(self) -> None:
        """Return once it has ended."""
        _hub.joinall([self._thread])

    def cancel(self) -> None:
        """End it where it waits; it may be over already."""
        self._thread.kill()


def spawn(function: Callable[..., object], *args: object) -> Task:
    """Start a green task; an exception that leaves it is logged."""
    return Task(_hub.spawn(function, *args))


def sleep(seconds: float) -> None:
    """Let other green tasks run for a while."""
    _hub.sleep(seconds)


def now_s() -> float:
    """Monotonic clock, seconds."""
    return time.monotonic()


def every(interval_s: float, function: Callable[[], object]) -> Task:
    """Call a function at a steady interval until the task is cancelled; its exceptions are logged."""

    def loop() -> None:
        due_s = now_s()
        while True:
            try:
                function()
            except Exception:
                log.exception("a periodic task failed; it runs again in %s s", interval_s)
            due_s = max(due_s + interval_s, now_s())
            sleep(due_s - now_s())

    return spawn(loop)


def green_socket(plain: socket.socket) -> Any:
    """A socket whose waiting lets other green tasks run."""
    return eventlet.greenio.GreenSocket(plain)


class _Door:
    """Functions on their way into the OpenFlow thread.

    Without locks: appending to a deque is atomic, and a signal handler, which may interrupt anything in
    this thread, must be able to knock too.
    """

    def __init__(self) -> None:
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._knock, self._inside = socket.socketpair()
        self._knock.setblocking(False)
        self.closed = False

    def call_soon(self, function: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        if len(self._calls) >= _MAX_CALLS:
            future.set_exception(HeddleError(f"the OpenFlow thread is busy: {_MAX_CALLS} calls wait; try again later"))
            return future
        self._calls.append((future, function))
        # A full socket buffer means that an earlier knock has not been heard yet; a broken pipe, that it is closed.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self._knock.send(b"\0")
        if self.closed:
            self.refuse_all()
        return future

    def serve(self) -> None:
        inside = green_socket(self._inside)
        while not self.closed:
            inside.recv(4096)
            for future, function in self._take():
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    result = function()
                except Exception as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

    def _take(self) -> Iterator[tuple[Future[Any], Callable[[], Any]]]:
        with contextlib.suppress(IndexError):
            while True:
                yield self._calls.popleft()

    def close(self) -> None:
        """Give the sockets back; at the end of the process."""
        self._knock.close()
        self._inside.close()

    def refuse_all(self) -> None:
        """Answer what came too late."""
        for future, _ in self._take():
            if future.set_running_or_notify_cancel():
                future.set_exception(HeddleError("the OpenFlow thread has stopped; start the daemon again"))


_door = _Door()
atexit.register(_door.close)
_stopping: Event = Event()


def call_soon(function: Callable[[], T]) -> Future[T]:
    """Run a function in the OpenFlow thread; callable from any thread, and from signal handlers.

    The function must not wait, since the calls after it wait for it: it may `spawn` a task that does.

    Returns
    -------
    Future
        Of the function's result. It fails with `HeddleError` where too many calls wait or the thread
        has stopped. What is called before `run` is carried out once that starts.
    """
    return _door.call_soon(function)


def stop() -> None:
    """Make `run` return; callable from any thread."""
    _door.call_soon(_stopping.set)


class _OpenFlowEvents(App):
    """Where applications subscribe to OpenFlow events.

    The frameworks' own service of this name would listen on every address and believe every peer
    (`controller.channel` takes its place), so only its name is taken here: loaded through
    ``AppManager.instantiate``, an application brings no other service with it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.name = ofp_event.NAME


def run(application: Callable[..., App], *args: object) -> signal.Signals | None:
    """Be the OpenFlow thread until `stop` is called or SIGTERM or SIGINT arrives; once in a process.

    Instantiates the application class with these arguments, calls its ``start``, and at the end its
    ``close`` once its last event is handled. Signals are taken only in the main thread.

    Parameters
    ----------
    application : subclass of App
        Its handlers are marked by `set_ev_cls` and run one after another in one green task; a handler
        must not wait for a switch's answer (`spawn` a task for that).

    Returns
    -------
    signal.Signals or None
        The signal that ended it; None where `stop` did.

    Raises
    ------
    Exception
        Whatever the application's constructor or ``start`` raises.
    """
    received: list[signal.Signals] = []

    def on_signal(number: int, _frame: object) -> None:
        received.append(signal.Signals(number))
        stop()

    previous = {}
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    manager = _app_manager.AppManager.get_instance()
    door = spawn(_door.serve)
    try:
        manager.instantiate(_OpenFlowEvents).start()
        manager.instantiate(application, *args).start()
        _stopping.wait()
    finally:
        with eventlet.Timeout(_CLOSE_S, False):
            manager.close()
        _door.closed = True
        _door.refuse_all()
        door.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)
    return received[0] if received else None
