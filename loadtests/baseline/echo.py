"""Answers every request with the same confidence and does nothing else.

    python -m local.host http --app loadtests.baseline.echo:app

It has the function model, the headers and the number of bytes of the real answer, so that the difference
between the two is the cost of the confidence itself.
"""

import azure.functions as func

blueprint = func.Blueprint()

BODY = (
    b'{"confidence":0.6137,"symbol":"ES","signal_type":"LONG","strategy":"vwap_bounce",'
    b'"model_version":"vwap_bounce-20251013T140000Z-1f9a0c3d","basis":"model","cached":true,"age_ms":1012}'
)
HEADERS = {
    "x-request-id": "8d5f1c3a9b7e4f60a2c4e6f8091b3d57",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "RateLimit": '"default";r=9999;t=60',
    "RateLimit-Policy": '"default";q=10000;w=60',
    "X-RateLimit-Limit": "10000",
    "X-RateLimit-Remaining": "9999",
    "X-RateLimit-Reset": "60",
}


@blueprint.function_name("echo")
@blueprint.route("ml/get_confidence", methods=["POST"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    """Reads the body, as every real function does, and answers."""
    req.get_body()
    return func.HttpResponse(BODY, headers=HEADERS, mimetype="application/json", charset="utf-8")


app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(blueprint)
