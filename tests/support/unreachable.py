"""Settings of an app whose servers nobody reaches."""

from functions.timer_table import TIMERS

# Closed ports of this machine: what answers all the same needs no server.
UNREACHABLE = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing",
    "REDIS_URL": "redis://127.0.0.1:9/0",
    "TABLES_CONNECTION_STRING": (
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:9/a;"
    ),
    "WEBPUBSUB_CONNECTION_STRING": "Endpoint=http://127.0.0.1:9;AccessKey=a2V5;Version=1.0;",
    "API_KEY_PEPPER": "p" * 32,
    **{timer.setting: timer.schedule for timer in TIMERS},
}
