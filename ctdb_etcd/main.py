# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The command: the few lines that join the parts.

On every node CTDB waits for it in every recovery. So what takes time by itself is begun first, and imported is
only what the way at hand needs.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .helper import Status
    from .log import Log


def main(arguments: list[str]) -> int:
    """Run the helper; the exit status repeats the status character, which is all that CTDB looks at."""
    # What a start makes it needs: looking for garbage took a twentieth of it. A holder looks again.
    gc.disable()
    # Until there is something to give back, every signal may simply end us.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = os.getppid()
    if not {"--status", "--check", "--json"}.isdisjoint(arguments):
        return _view(arguments)
    from . import helper, lock, log

    helper.close_leaked()
    status, lines = helper.Status(), log.Log()
    try:
        _work(arguments, parent, status, lines)
    except (lock.Unavailable, lock.Refused) as failure:
        for line in str(failure).splitlines():
            lines.error(line)
        status.say(helper.TIMEOUT if isinstance(failure, lock.Unavailable) else helper.ERROR)
    except lock.Stopped:
        pass
    except Exception as error:
        # Whatever is wrong with us: CTDB is to have its character, and nobody a traceback.
        status.say(helper.ERROR)
        lines.error(f"this is a bug, please report it: {type(error).__name__} {_place(error)}: {error}")
    return int(status.said or helper.HOLDING)


def _work(arguments: list[str], parent: int, status: Status, log: Log) -> None:
    from . import options
    from .lock import Refused

    given = options.parse(arguments)
    log.verbosity = given.verbose
    if parent <= 1:
        raise Refused("the parent process is gone or out of sight: this command is to be run by ctdbd")
    data = options.read(given.config)
    from . import command

    # testparm takes as long as the imports: let it run beside them, unless the file makes it needless.
    testparm = None if b"netbios_name" in data else command.testparm()
    from . import config, helper, identity
    from .locks import open_lock
    from .proof import Witness
    from .takeover import Takeover

    settings = config.parse(given.config or options.default_file(), data)
    for warning in settings.warnings:
        log.error(warning)
    for note in settings.notes:
        log.info(note)
    watch = helper.Watch(parent)
    name = settings.netbios_name or identity.name_from(testparm or command.testparm(), watch)
    nonce = os.urandom(8).hex()
    witness = Witness(name, nonce)
    takeover = Takeover(witness, helper.elects(parent), watch, log)
    holder = identity.Holder(settings.lock_ttl, settings.refresh, nonce, watch)
    lock = open_lock(settings, name, holder, takeover, watch, log)
    helper.run(settings, lock, witness, watch, status, log)


def _view(arguments: list[str]) -> int:
    """What an operator asks: no status character, and no ctdbd above us. As a Nagios plugin: 3 for what is unknown."""
    from . import options
    from .lock import Refused

    try:
        given = options.parse(arguments)
        if given.status == given.check:
            raise Refused("--json goes with one of --status and --check: see --help")
        from . import view

        return view.run(given, given.config or options.default_file(), lambda: options.read(given.config))
    except Refused as refusal:
        print(f"UNKNOWN: {refusal}", file=sys.stderr)
    except Exception as error:
        print(f"UNKNOWN: this is a bug, please report it: {type(error).__name__} {_place(error)}", file=sys.stderr)
    return 3


def _place(error: Exception) -> str:
    at = error.__traceback__
    while at and at.tb_next:
        at = at.tb_next
    return f"at {os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}" if at else ""
