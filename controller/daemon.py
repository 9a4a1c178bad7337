"""The daemon, put together: configuration, state, the OpenFlow thread, the API."""

from __future__ import annotations

import logging
import signal

from controller import framework
from controller.app import HeddleApp, Listening
from controller.config import Config
from controller.store import Store
from topologies.files import read_fabric

log = logging.getLogger(__name__)


def run_daemon(config: Config, listening: Listening | None = None) -> int:
    """Run until SIGTERM or SIGINT.

    Parameters
    ----------
    listening : callable, optional
        Told the switches' address and the API's URL once both listen.

    Returns
    -------
    int
        The process's exit code: 0 after SIGTERM, 130 after SIGINT.

    Raises
    ------
    InputError
        The fabric file is wrong, or a file for TLS.
    HeddleError
        An address is in use, or the state directory cannot be used.
    """
    declared = read_fabric(config.fabric) if config.fabric is not None else None
    log.info("framework %s %s, state in %s", framework.FRAMEWORK, framework.VERSION, config.state_dir)
    with Store(config.state_dir) as store:
        ended_by = framework.run(HeddleApp, config, store, declared, listening)
    return 130 if ended_by is signal.SIGINT else 0
