"""Telling others: Alertmanager and webhooks. Nothing is sent until targets are configured."""
