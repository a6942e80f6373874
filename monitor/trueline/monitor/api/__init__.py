"""The HTTP interface for people and their tools: all of /api/v1 and /ops."""

from __future__ import annotations

from fastapi import APIRouter

from trueline.monitor.api import (
    coverage,
    databases,
    declarations,
    diagnose,
    findings,
    identities,
    incidents,
    last_write,
    notify,
    rule_history,
    rule_work,
    rules,
    silences,
    status,
    timeline,
    traces,
)
from trueline.monitor.api.context import Context
from trueline.monitor.declaration_service import DeclarationService
from trueline.monitor.rule_service import RuleService
from trueline.monitor.settings import Settings
from trueline.monitor.store.client import Store


def build_router(
    store: Store, rules_service: RuleService, settings: Settings, declaration_service: DeclarationService
) -> APIRouter:
    """Build all routes on a store, the rules at work on it and the declarations in force."""
    context = Context(store, rules_service, settings, declaration_service)
    router = APIRouter()
    for module in (
        findings,
        incidents,
        silences,
        notify,
        rules,
        rule_history,
        rule_work,
        traces,
        timeline,
        databases,
        identities,
        diagnose,
        coverage,
        declarations,
        status,
    ):
        router.include_router(module.build(context), prefix="/api/v1")
    router.include_router(last_write.build(context), prefix="/ops")
    return router
