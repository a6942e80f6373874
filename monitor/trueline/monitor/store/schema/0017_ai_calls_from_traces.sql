-- Fills ai_calls from arriving spans. No expression in it can fail, whatever a client
-- sends: an error here would refuse the whole batch.
-- Made by trueline.monitor.store.generate from the telemetry contract: change that, not this file.
CREATE MATERIALIZED VIEW IF NOT EXISTS ai_calls_from_traces TO ai_calls AS
SELECT
    received_at AS received_at,
    request_hash AS request_hash,
    Timestamp AS started_at,
    fromUnixTimestamp64Nano(toUnixTimestamp64Nano(Timestamp) + toInt64(least(Duration, 31622400000000000)), 'UTC') AS ended_at,
    lower(TraceId) AS trace_id,
    lower(SpanId) AS span_id,
    lower(ParentSpanId) AS parent_span_id,
    SpanName AS span_name,
    lower(replaceOne(SpanKind, 'SPAN_KIND_', '')) AS span_kind,
    multiIf(StatusCode IN ('Error', 'STATUS_CODE_ERROR'), 'error', StatusCode IN ('Ok', 'STATUS_CODE_OK'), 'ok', 'unset') AS status,
    StatusMessage AS status_message,
    ServiceName AS service,
    ResourceAttributes['service.namespace'] AS application,
    ResourceAttributes['service.version'] AS version,
    ResourceAttributes['service.instance.id'] AS instance,
    if(multiIf(ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'], ResourceAttributes['deployment.environment']) = '', 'unset', multiIf(ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'], ResourceAttributes['deployment.environment'])) AS environment,
    ResourceAttributes['trueline.process.kind'] AS process_kind,
    JSONExtract(SpanAttributes['trueline.identity.bound'], 'Array(String)') AS identity_bound,
    SpanAttributes['trueline.entry.name'] AS entry_name,
    SpanAttributes['trueline.entry.span_id'] AS entry_span_id,
    SpanAttributes['error.type'] AS error_type,
    multiIf(SpanAttributes['server.address'] != '', SpanAttributes['server.address'], SpanAttributes['net.peer.name']) AS server_address,
    toInt64OrZero(multiIf(SpanAttributes['server.port'] != '', SpanAttributes['server.port'], SpanAttributes['net.peer.port'])) AS server_port,
    toInt64OrZero(multiIf(SpanAttributes['http.response.status_code'] != '', SpanAttributes['http.response.status_code'], SpanAttributes['http.status_code'])) AS http_status,
    multiIf(SpanAttributes['gen_ai.operation.name'] != '', SpanAttributes['gen_ai.operation.name'], SpanAttributes['llm.request.type'] != '', SpanAttributes['llm.request.type'], SpanAttributes['openinference.span.kind']) AS operation,
    multiIf(SpanAttributes['gen_ai.provider.name'] != '', SpanAttributes['gen_ai.provider.name'], SpanAttributes['gen_ai.system'] != '', SpanAttributes['gen_ai.system'], SpanAttributes['llm.provider'] != '', SpanAttributes['llm.provider'], SpanAttributes['llm.system']) AS provider,
    multiIf(SpanAttributes['gen_ai.request.model'] != '', SpanAttributes['gen_ai.request.model'], SpanAttributes['gen_ai.response.model'] != '', SpanAttributes['gen_ai.response.model'], SpanAttributes['llm.model_name'] != '', SpanAttributes['llm.model_name'], SpanAttributes['embedding.model_name']) AS model,
    JSONExtract(SpanAttributes['gen_ai.response.finish_reasons'], 'Array(String)') AS finish_reasons,
    toInt64OrZero(SpanAttributes['gen_ai.usage.output_tokens']) AS output_tokens,
    SpanAttributes['trueline.ai.role'] AS role,
    SpanAttributes['trueline.ai.problem'] AS problem,
    toInt64OrZero(SpanAttributes['trueline.ai.attempts']) AS attempts,
    SpanAttributes['trueline.ai.fallback'] AS fallback,
    arrayFirst((attributes, name) -> name = 'exception', Events.Attributes, Events.Name)['exception.type'] AS exception_type,
    arrayFirst((attributes, name) -> name = 'exception', Events.Attributes, Events.Name)['exception.message'] AS exception_message,
    StatusCode IN ('Error', 'STATUS_CODE_ERROR') OR SpanAttributes['error.type'] != '' OR has(Events.Name, 'exception') OR toInt64OrZero(multiIf(SpanAttributes['http.response.status_code'] != '', SpanAttributes['http.response.status_code'], SpanAttributes['http.status_code'])) >= 400 OR hasAny(JSONExtract(SpanAttributes['gen_ai.response.finish_reasons'], 'Array(String)'), ['content_filter', 'refusal', 'error']) OR SpanAttributes['trueline.ai.problem'] IN ('cut', 'error', 'rate_limited', 'refused', 'timeout') AS failed
FROM otel_traces
WHERE NOT SpanAttributes['trueline.statement.kind'] != '' AND SpanAttributes['trueline.ai.role'] != 'attempt' AND (SpanAttributes['trueline.ai.role'] != '' OR (SpanAttributes['gen_ai.operation.name'] NOT IN ('create_agent', 'invoke_agent', 'execute_tool', 'invoke_workflow') AND (SpanAttributes['gen_ai.operation.name'] != '' OR SpanAttributes['gen_ai.provider.name'] != '' OR SpanAttributes['gen_ai.system'] != '' OR SpanAttributes['llm.request.type'] != '' OR SpanAttributes['openinference.span.kind'] IN ('LLM', 'EMBEDDING', 'RERANKER') OR (SpanKind IN ('Client', 'SPAN_KIND_CLIENT') AND (SpanAttributes['http.request.method'] != '' OR SpanAttributes['http.method'] != '') AND (lower(multiIf(SpanAttributes['server.address'] != '', SpanAttributes['server.address'], SpanAttributes['net.peer.name'] != '', SpanAttributes['net.peer.name'], SpanAttributes['http.host'])) IN ('api.anthropic.com', 'api.cohere.com', 'api.deepseek.com', 'api.fireworks.ai', 'api.groq.com', 'api.mistral.ai', 'api.openai.com', 'api.perplexity.ai', 'api.together.xyz', 'api.x.ai', 'generativelanguage.googleapis.com', 'openrouter.ai') OR lower(domain(multiIf(SpanAttributes['url.full'] != '', SpanAttributes['url.full'], SpanAttributes['http.url']))) IN ('api.anthropic.com', 'api.cohere.com', 'api.deepseek.com', 'api.fireworks.ai', 'api.groq.com', 'api.mistral.ai', 'api.openai.com', 'api.perplexity.ai', 'api.together.xyz', 'api.x.ai', 'generativelanguage.googleapis.com', 'openrouter.ai') OR match(lower(multiIf(SpanAttributes['server.address'] != '', SpanAttributes['server.address'], SpanAttributes['net.peer.name'] != '', SpanAttributes['net.peer.name'], SpanAttributes['http.host'])), '^([\\w-]+\\.openai\\.azure\\.com|([\\w-]+-)?aiplatform\\.googleapis\\.com|bedrock-runtime[\\w.-]*\\.amazonaws\\.com)$') OR match(lower(domain(multiIf(SpanAttributes['url.full'] != '', SpanAttributes['url.full'], SpanAttributes['http.url']))), '^([\\w-]+\\.openai\\.azure\\.com|([\\w-]+-)?aiplatform\\.googleapis\\.com|bedrock-runtime[\\w.-]*\\.amazonaws\\.com)$'))))))
