"""Registers every blueprint with the function app; holds no logic."""

import azure.functions as func

from functions import bars, confidence, licenses, ops, realtime, signals, timers, trades

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for area in (confidence, trades, signals, bars, realtime, licenses, ops):
    app.register_functions(area.routes.blueprint)
app.register_functions(timers.blueprint)
