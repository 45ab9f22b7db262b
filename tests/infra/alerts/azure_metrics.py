"""Holds Azure's reference of the metrics that alerts and workbook use."""

# Type, metric, and the aggregations that Azure offers.
DOCUMENTED = {
    "Microsoft.Web/sites": {
        "Http5xx": {"Total"},
        "Requests": {"Total"},
        "HealthCheckStatus": {"Average"},
    },
    "Microsoft.Web/serverfarms": {"CpuPercentage": {"Average"}, "MemoryPercentage": {"Average"}},
    "Microsoft.DBforPostgreSQL/flexibleServers": {
        "is_db_alive": {"Maximum"},
        "storage_percent": {"Average", "Maximum"},
        "cpu_percent": {"Average", "Maximum"},
        "active_connections": {"Average", "Maximum"},
        "maximum_used_transactionIDs": {"Average", "Maximum"},
        "physical_replication_delay_in_seconds": {"Average", "Maximum"},
        "client_connections_waiting": {"Average", "Maximum"},
    },
    "Microsoft.Cache/redisEnterprise": {
        "usedmemorypercentage": {"Maximum"},
        "evictedkeys": {"Total"},
        "percentProcessorTime": {"Maximum"},
        "connectedclients": {"Maximum"},
    },
    "Microsoft.SignalRService/WebPubSub": {
        "ConnectionQuotaUtilization": {"Average", "Maximum"},
        "ServerLoad": {"Average", "Maximum"},
        "TotalConnectionCount": {"Average", "Maximum"},
        "OutboundTraffic": {"Total"},
    },
    "Microsoft.Logic/workflows": {"RunsFailed": {"Total"}},
    "Microsoft.Cdn/profiles": {"Percentage5XX": {"Average"}, "OriginHealthPercentage": {"Average"}},
}
