"""Whether gevent or eventlet have replaced this process's threads by greenlets, and what is then not possible.

Neither is imported: where nobody has imported one, nothing is patched.
"""

import sys

from sandbox.errors import SandboxError

_ASKED = {"gevent.monkey": "is_module_patched", "eventlet.patcher": "is_monkey_patched"}
_THREADS = ("thread", "threading")  # as the one or the other calls it


def replace_threads() -> bool:
    """Whether threads or queues are not the interpreter's own; then a busy event loop would stop everything else."""
    return _are_patched(*_THREADS, "queue")


def check(*, loop: bool) -> None:
    """Raise SandboxError where a server cannot run in this process; with `loop`, one that has an event loop."""
    if not _are_patched(*_THREADS):
        return
    if not _are_patched("select"):
        raise SandboxError(
            "gevent or eventlet have replaced threads but not sockets, so that no server can run in this process. "
            "Patch everything, as gevent.monkey.patch_all() does, or run the server by itself."
        )
    import asyncio  # 50 ms, which tests on a sandbox that runs elsewhere need not spend

    if loop and asyncio._get_running_loop() is not None:  # all greenlets are in one thread
        raise SandboxError(
            "With gevent or eventlet, only one event loop can run at a time, and one does already. Serve one ASGI "
            "application and call no async function meanwhile; or serve the application as WSGI, or by itself."
        )


def _are_patched(*modules: str) -> bool:
    return any(
        getattr(sys.modules[library], asked)(name)
        for library, asked in _ASKED.items()
        if library in sys.modules
        for name in modules
    )
