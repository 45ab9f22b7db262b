"""Reports how Microsoft's worker library takes an app, in a process of its own.

    python -m tests.support.worker_library DIRECTORY [JSON of invocations: {route: RpcHttp}]

Prints one JSON object: how initialisation went, each function with its bindings, and the answer to each
invocation.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtests.bench.worker.library import AppRefused, WorkerLibrary


async def drive(directory: Path, invocations: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Initialises, lists, loads and invokes, in the order of the platform."""
    library = WorkerLibrary()
    try:
        await library.start(directory)
    except AppRefused as error:
        return {"initialised": False, "reason": str(error)}
    functions = {
        name: [json.loads(binding) for binding in bindings] for name, bindings in library.bindings.items()
    }
    report: dict[str, Any] = {
        "initialised": True,
        "reason": "",
        "capabilities": library.capabilities,
        "functions": functions,
        "loaded": [name for name in functions if await library.load(name)],
        "answers": {},
    }
    routed = {bindings[0].get("route"): name for name, bindings in functions.items()}
    for route, wanted in invocations.items():
        name = routed[route]
        answer = await library.invoke(library.invocation(name, functions[name][0]["name"], wanted))
        http = answer.return_value.http
        report["answers"][route] = {
            "succeeded": library.succeeded(answer),
            "reason": answer.result.exception.message,
            "status": http.status_code,
            "headers": dict(http.headers),
            "body": http.body.bytes.decode(),
        }
    library.stop()
    return report


if __name__ == "__main__":
    app_directory = Path(sys.argv[1])
    os.chdir(app_directory)
    wanted = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    print(json.dumps(asyncio.run(drive(app_directory, wanted))))
