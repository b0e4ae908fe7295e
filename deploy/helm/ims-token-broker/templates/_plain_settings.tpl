{{/* Made from values.yaml by `python -m tests.support.chart_settings`; do not edit it here. */}}
{{- define "broker.plainSettings" -}}
BROKER_HOST: {{ .Values.broker.host | quote }}
BROKER_PORT: {{ .Values.broker.port | int | quote }}
{{- with .Values.broker.publicUrl }}
BROKER_PUBLIC_URL: {{ . | quote }}
{{- end }}
BROKER_KEEP_WARM: {{ .Values.broker.keepWarm | quote }}
BROKER_FAST_PATH: {{ .Values.broker.fastPath | quote }}
BROKER_WORKERS: {{ .Values.broker.workers | int | quote }}
BROKER_LOG_LEVEL: {{ .Values.broker.logLevel | quote }}
BROKER_CREDENTIAL_STORE: {{ .Values.credentials.store | quote }}
{{- if include "broker.usesVault" . }}
{{- with .Values.vault.addr }}
BROKER_VAULT_ADDR: {{ . | quote }}
{{- end }}
BROKER_VAULT_AUTH: {{ .Values.vault.auth | quote }}
{{- with .Values.vault.authMount }}
BROKER_VAULT_AUTH_MOUNT: {{ . | quote }}
{{- end }}
BROKER_VAULT_MOUNT: {{ .Values.vault.mount | quote }}
BROKER_VAULT_KV_VERSION: {{ .Values.vault.kvVersion | int | quote }}
BROKER_VAULT_PREFIX: {{ .Values.vault.prefix | quote }}
BROKER_VAULT_TRANSIT_MOUNT: {{ .Values.vault.transitMount | quote }}
{{- with .Values.vault.namespace }}
BROKER_VAULT_NAMESPACE: {{ . | quote }}
{{- end }}
{{- end }}
{{- with .Values.kms.region }}
BROKER_KMS_REGION: {{ . | quote }}
{{- end }}
{{- with .Values.kms.endpointUrl }}
BROKER_KMS_ENDPOINT_URL: {{ . | quote }}
{{- end }}
{{- if include "broker.usesRedis" . }}
{{- with .Values.redis.sentinel.username }}
BROKER_REDIS_SENTINEL_USERNAME: {{ . | quote }}
{{- end }}
{{- with .Values.redis.username }}
BROKER_REDIS_USERNAME: {{ . | quote }}
{{- end }}
BROKER_REDIS_PREFIX: {{ .Values.redis.prefix | quote }}
{{- end }}
BROKER_IMS_BASE_URLS: {{ join "," .Values.ims.baseUrls | quote }}
BROKER_MAX_EXCHANGES: {{ .Values.ims.maxExchanges | int | quote }}
{{- with .Values.proxy.url }}
BROKER_PROXY_URL: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.username }}
BROKER_PROXY_USERNAME: {{ . | quote }}
{{- end }}
BROKER_NO_PROXY: {{ join "," .Values.proxy.noProxy | quote }}
{{- with .Values.audit.file }}
BROKER_AUDIT_FILE: {{ . | quote }}
{{- end }}
BROKER_AUDIT_CHAIN: {{ .Values.audit.chain | quote }}
BROKER_AUDIT_OVERFLOW: {{ .Values.audit.overflow | quote }}
BROKER_TRACING: {{ .Values.tracing.exporter | quote }}
BROKER_TRACING_ORGS: {{ .Values.tracing.orgs | quote }}
{{- end -}}
