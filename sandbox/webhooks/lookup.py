"""DNS look-ups in threads of their own, so that a silent name server keeps nothing else waiting.

The default executor of an event loop is shared by everything that blocks, and a look-up that hangs there cannot be
cancelled.
"""

import asyncio
import ipaddress
import socket
import threading
from contextlib import suppress
from weakref import WeakKeyDictionary

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST = 64  # look-ups at once; one for each host and port, however many want it


class _Lookups:
    """Those of one event loop. What nobody waits for any more goes on, and those who come later join it."""

    def __init__(self) -> None:
        self.under_way: dict[tuple[str, int], asyncio.Future[list[Address] | Exception]] = {}
        self._free = asyncio.Semaphore(MOST)

    async def find(self, host: str, port: int) -> list[Address]:
        key = host, port
        if key not in self.under_way:
            await self._free.acquire()
            if key in self.under_way:  # somebody else wanted it, too
                self._free.release()
            else:
                self._begin(key)
        found = await asyncio.shield(self.under_way[key])
        if isinstance(found, Exception):
            raise found
        return found

    def _begin(self, key: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        self.under_way[key] = loop.create_future()

        def look() -> None:
            found: list[Address] | Exception
            try:
                found = _addresses(*key)
            except Exception as error:
                found = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._end, key, found)

        try:
            threading.Thread(target=look, name="sandbox-lookup", daemon=True).start()  # whom a stop does not wait for
        except RuntimeError as error:  # the system has no more threads to give; told once it is waited for
            loop.call_soon(self._end, key, OSError(str(error)))

    def _end(self, key: tuple[str, int], found: list[Address] | Exception) -> None:
        self._free.release()
        self.under_way.pop(key).set_result(found)


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lookups] = WeakKeyDictionary()


def _lookups() -> _Lookups:
    loop = asyncio.get_running_loop()
    if (known := _of_loops.get(loop)) is None:
        known = _of_loops[loop] = _Lookups()
    return known


async def addresses(host: str, port: int) -> list[Address]:
    """Every address of a host, in the order in which to try them. Raises OSError if it has none.

    It has no deadline, which is the caller's.
    """
    return await _lookups().find(host, port)


def under_way() -> int:
    """The number of look-ups that the running event loop has under way."""
    return len(_lookups().under_way)


def _addresses(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(sockaddr[0]) for *_, sockaddr in found))
