"""Commands that begin with torch loaded, whose import is most of a short command's time.

Each is a fork of one process that has loaded torch and nothing of ours: arguments, folder,
environment, standard streams and all imports of ours are the command's own.

    python -P torch_loaded.py SOCKET     serves; a file with `caller(...)` in it is the command
"""

import gc
import json
import os
import socket
import sys

_CALLER = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    asked = {{"arguments": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(server, [json.dumps(asked).encode()], [0, 1, 2])
    sys.exit(int(server.recv(16)))
"""
_MOST = 1 << 16  # bytes of a request


def caller(python: str, path: str) -> str:
    """A program that has its own words done by the process that listens there."""
    return _CALLER.format(python=python, path=path)


def serve(path: str) -> None:
    import torch  # noqa: F401

    gc.freeze()  # a look at each object would copy its page into each child
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)
        while True:
            with server.accept()[0] as asking:
                asked, streams, _, _ = socket.recv_fds(asking, _MOST, 3)
                child = os.fork()
                if child == 0:
                    become(json.loads(asked), streams)
                for stream in streams:
                    os.close(stream)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                asking.sendall(str(code).encode())


def become(asked: dict, streams: list[int]) -> None:
    """Be the command from here on, and end as it does."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = asked["arguments"]
    from pipeline.__main__ import main

    main()
    sys.exit()


if __name__ == "__main__":
    serve(sys.argv[1])
