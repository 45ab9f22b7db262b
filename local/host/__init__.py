"""A function host for one machine: runs a Python v2 FunctionApp without Core Tools.

It calls the decorated functions directly, with the platform's own request and context types, and
copies the platform's rules where an app could come to depend on them: routing (routing.py), what
may be indexed (indexing.py), schedules (schedule.py), the shape of requests and answers (http.py).

Known differences from Azure, each on purpose or because nothing here needs it:
- Only HTTP and timer triggers, and functions with anonymous access. Anything else stops the start,
  where the platform would list one function as faulty and run the others.
- Chunked request bodies arrive whole. On Azure they can arrive empty.
- The throttles of host.json (`maxConcurrentRequests` and its like) are not applied, and neither
  `functionTimeout` nor the 230 s of the front end cut off an HTTP function.
- A timer's last run is not stored, so a run missed while the host was down is not made up for.
- `%2F` in a path is decoded before routing; the platform keeps it.
"""
