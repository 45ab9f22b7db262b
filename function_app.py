"""The function app: every blueprint registered, no logic."""

import azure.functions as func

from functions import confidence, licenses, ops, realtime, signals, timers, trades

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for area in (confidence, trades, signals, realtime, licenses, ops, timers):
    app.register_functions(area.blueprint)
