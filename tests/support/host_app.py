"""Provides the source of an app whose functions answer, fail and wait in the ways a host has to bear."""

APP = """
import asyncio, json, threading, time
import azure.functions as func
from azure.functions.http import HttpRequest

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
meeting = threading.Barrier(2, timeout=10)

def as_json(value):
    return func.HttpResponse(json.dumps(value), mimetype="application/json")

@app.route(route="see/{symbol}/{n:int?}")
async def see(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return as_json({
        "is_the_workers": isinstance(req, HttpRequest),
        "method": req.method, "url": req.url, "headers": dict(req.headers),
        "params": dict(req.params), "route_params": dict(req.route_params), "body": req.get_body().decode(),
        "invocation_id": context.invocation_id, "function": context.function_name,
        "trace_parent": context.trace_context.trace_parent,
    })

@app.route(route="echo", methods=["POST"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.get_body(), mimetype="image/png", headers={"x-request-id": "id-1"})

@app.route(route="signals/latest", methods=["GET"])
async def latest(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("latest")

@app.route(route="signals/{symbol}", methods=["GET"])
async def by_symbol(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("by_symbol")

@app.route(route="boom")
async def boom(req: func.HttpRequest) -> func.HttpResponse:
    raise LookupError("the reason for the log")

@app.route(route="wrong")
async def wrong(req: func.HttpRequest):
    return {"not": "a response"}

@app.route(route="text")
async def text(req: func.HttpRequest) -> str:
    return "plain \\u20ac"

@app.route(route="headers")
async def headers(req: func.HttpRequest) -> func.HttpResponse:
    first = {"x-a": "first", "content-length": "3"}
    response = func.HttpResponse(b"x" * 10, mimetype="text/csv", headers=first)
    response.headers.add("X-A", "last")
    response.headers.add("Set-Cookie", "a=1; Path=/")
    response.headers.add("Set-Cookie", "b=2; Path=/")
    return response

@app.route(route="slow")
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.sleep(0.05)
    return func.HttpResponse("slow")

@app.route(route="gives-up")
async def gives_up(req: func.HttpRequest) -> func.HttpResponse:
    raise asyncio.CancelledError

class Unchecked(func.HttpResponse):
    headers = {"x-a": "a\\r\\nx-b: forged"}  # the library's own class refuses line breaks

@app.route(route="injects")
async def injects(req: func.HttpRequest) -> func.HttpResponse:
    return Unchecked("x")

@app.route(route="half")
async def half(req: func.HttpRequest) -> func.HttpResponse:
    print("ran with", req.get_body(), flush=True)
    return func.HttpResponse(req.get_body())

@app.route(route="empty")
async def empty(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=204)

@app.route(route="meet")
def meet(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    meeting.wait()
    same = context.thread_local_storage.invocation_id == context.invocation_id
    return func.HttpResponse("met" if same else "no")
"""
