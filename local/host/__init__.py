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
- Request headers have no bound on their size, a half-sent request no bound on its time, and a client that
  closes its sending side gets no answer.
- A timer's last run is not stored, so this host does not repeat a run that it missed while it was down.
- `%2F` in a path is decoded before routing; the platform keeps it.
"""
