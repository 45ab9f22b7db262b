"""Hosts a Python v2 FunctionApp on one machine, without Core Tools.

It calls the decorated functions directly, with the platform's own request class and a context of the same
shape, and copies the platform's rules if an app could come to depend on them: routing (routing.py), which
functions may be indexed (indexing.py), schedules (schedule.py), the shape of requests (request.py) and of
answers (answer.py). uvicorn speaks HTTP (http.py).

Known differences from Azure, each on purpose or because nothing here needs it:
- Only HTTP and timer triggers, and functions with anonymous access. Anything else stops the start, but the
  platform would list one function as faulty and run the others.
- Chunked request bodies arrive whole. On Azure they can arrive empty. Their trailers count as headers.
- The throttles of host.json (`maxConcurrentRequests` and its like) are not applied, and neither
  `functionTimeout` nor the 230 s of the front end cut off an HTTP function.
- A client that closes its sending side gets no answer.

What a client may send, and how slowly (deadlines.py):
- Body: the setting FUNCTIONS_REQUEST_BODY_SIZE_LIMIT, here and on Azure; without it 100 MB. A larger body is
  refused with 413 as soon as its length is known. On Azure that answer has no body.
- Head: 512 KiB here, then 431. On Azure 32 KiB, and 8 KiB for the request line.
- Time for the head: 10 s here, then 408. On Azure 30 s.
- Time for the body: 20 s here, then 408. On Azure, the server ends a body of which fewer than 240 bytes a
  second arrive, after 5 s; the front end ends every request after 230 s.
- Idle connections: 240 s, here and on Azure's load balancer.
"""
