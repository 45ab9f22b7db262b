"""Does one training run: request on stdin, result on stdout, within limits that the kernel enforces."""

import os
import resource
import sys

import msgspec

from shared.domain.confidence.training import TrainingRequest
from shared.training.run import train

MAX_MEMORY_BYTES = 4 * 1024**3  # address space, of which onnxruntime and scikit-learn reserve about 1 GB
MAX_CPU_S = 240
MAX_REQUEST_BYTES = 256 * 1024**2


def main() -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)  # requests to the app have priority
    body = sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1)
    if len(body) > MAX_REQUEST_BYTES:
        sys.stderr.write(f"the request is longer than {MAX_REQUEST_BYTES} bytes\n")
        return 2
    request = msgspec.json.decode(body, type=TrainingRequest)
    sys.stdout.buffer.write(msgspec.json.encode(train(request)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
