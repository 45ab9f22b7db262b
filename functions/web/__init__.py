"""Joins Azure Functions' HTTP types to ours: route declarations, calls, answers and problems."""
