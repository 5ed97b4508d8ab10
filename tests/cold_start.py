#!/usr/bin/env python3
"""Size and cold start of the functions' release binaries.

Usage: cold_start.py FOLDER NAME..., where FOLDER/NAME/bootstrap is the binary, as cargo-lambda leaves it

Prints for each binary its size, which must stay under 10 MB, and the time from starting the process to its first poll of
the Runtime API with no database configured. The time is never asserted: it says as much about the machine. The Runtime
API here registers an extension and holds every poll, as the real one does until there is an event.
"""

import asyncio
import os
import statistics
import sys
import time

LARGEST = 10_000_000
STARTS = 5
START_TIMEOUT = 10.0


async def first_poll(binary: str, name: str) -> float:
    """Milliseconds until the process asks for its first event."""
    polled: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                if b"/runtime/invocation/next" in request and not polled.done():
                    polled.set_result(time.monotonic())
                if b"/extension/register" in request:
                    body = '{"functionName":"%s","functionVersion":"$LATEST","handler":"bootstrap"}' % name
                    lines = [
                        "HTTP/1.1 200 OK",
                        "Lambda-Extension-Identifier: 00000000-0000-0000-0000-000000000000",
                        "Content-Type: application/json",
                        "Content-Length: %d" % len(body),
                        "",
                        body,
                    ]
                    writer.write("\r\n".join(lines).encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    environment = {
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:%d" % server.sockets[0].getsockname()[1],
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    }
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(binary, env=environment, stdout=asyncio.subprocess.DEVNULL)
    try:
        return (await asyncio.wait_for(polled, START_TIMEOUT) - started) * 1000
    finally:
        process.kill()
        await process.wait()
        server.close()


async def measure(folder: str, names: list[str]) -> list[str]:
    """Prints a line for each function and returns what is wrong."""
    wrong = []
    for name in names:
        binary = os.path.join(folder, name, "bootstrap")
        size = os.path.getsize(binary)
        try:
            polls = [await first_poll(binary, name) for _ in range(STARTS)]
        except asyncio.TimeoutError:
            wrong.append("%s never polled the Runtime API" % name)
            continue
        middle = statistics.median(polls)
        print("%-20s %5.2f MB, first poll after %4.1f ms (median of %d)" % (name, size / 1e6, middle, STARTS))
        if size >= LARGEST:
            wrong.append("%s has %d bytes, 10 MB or more" % (name, size))
    return wrong


def main() -> int:
    folder, *names = sys.argv[1:]
    wrong = asyncio.run(measure(folder, names)) if names else ["no function was named"]
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
