"""`echo`: a TCP server that sends back what it reads.

asyncio and uvloop serve by a Protocol, which is faster than their streams; gevent by a greenlet per connection.
"""

import asyncio
import socket

import harness

ECHO_BUFFER = 4096


def run(contender: str, args: dict[str, str]) -> None:
    del args
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    harness.end_with_stdin()
    harness.report(port=listener.getsockname()[1])
    if contender == "gevent":
        gevent_serve(listener)
    else:
        harness.run_loop(contender, asyncio_serve(listener))


class Echo(asyncio.Protocol):
    def connection_made(self, transport) -> None:
        self.transport = transport  # asyncio and uvloop set TCP_NODELAY

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def asyncio_serve(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, sock=listener)
    await server.serve_forever()


def gevent_serve(listener: socket.socket) -> None:
    from gevent import socket as green
    from gevent.server import StreamServer

    def echo(connection, _address) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while data := connection.recv(ECHO_BUFFER):
                connection.sendall(data)
        except ConnectionResetError:
            pass

    server = StreamServer(green.socket(fileno=listener.detach()), echo)
    server.serve_forever()
