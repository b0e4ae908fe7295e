{{/* The settings that are not secrets, in the order of the README of ims-token-broker; an empty one counts as unset */}}
{{- define "broker.settings" -}}
{{- $values := .Values -}}
{{- $etc := "/etc/ims-token-broker" -}}
BROKER_HOST: {{ $values.broker.host | quote }}
BROKER_PORT: {{ $values.broker.port | int | quote }}
{{- with $values.broker.publicUrl }}
BROKER_PUBLIC_URL: {{ . | quote }}
{{- end }}
{{- if $values.tls.enabled }}
BROKER_TLS_CERT_FILE: {{ $etc }}/tls/tls.crt
BROKER_TLS_KEY_FILE: {{ $etc }}/tls/tls.key
{{- end }}
BROKER_POLICY_FILE: {{ $etc }}/policy/policy.yaml
BROKER_CREDENTIAL_STORE: {{ $values.credentials.store }}
{{- if include "broker.usesVault" . }}
{{- include "broker.vaultSettings" . }}
{{- else }}
BROKER_CREDENTIAL_DIR: {{ $etc }}/credentials
{{- end }}
{{- if include "broker.usesRedis" . }}
BROKER_REDIS_URL: {{ include "broker.redisUrl" . | quote }}
{{- with $values.redis.username }}
BROKER_REDIS_USERNAME: {{ . | quote }}
{{- end }}
{{- if $values.redis.password.existingSecret }}
BROKER_REDIS_PASSWORD_FILE: {{ $etc }}/redis/password
{{- end }}
{{- if include "broker.hasCa" $values.redis.tls.ca }}
BROKER_REDIS_CACERT: {{ $etc }}/ca/redis/ca.crt
{{- end }}
BROKER_REDIS_PREFIX: {{ $values.redis.prefix | quote }}
BROKER_CACHE_KEYS_FILE: {{ $etc }}/keys/cache-keys.json
{{- end }}
BROKER_IMS_BASE_URLS: {{ join "," $values.ims.baseUrls | quote }}
{{- if include "broker.hasCa" $values.ims.ca }}
BROKER_IMS_CACERT: {{ $etc }}/ca/ims/ca.crt
{{- end }}
{{- with $values.audit.file }}
BROKER_AUDIT_FILE: {{ . | quote }}
{{- end }}
BROKER_AUDIT_CHAIN: {{ $values.audit.chain | quote }}
BROKER_LOG_LEVEL: {{ $values.broker.logLevel }}
BROKER_TRACING: {{ $values.tracing.exporter | quote }}
BROKER_TRACING_ORGS: {{ $values.tracing.orgs | quote }}
{{- if include "broker.traces" . }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ $values.tracing.endpoint | quote }}
OTEL_EXPORTER_OTLP_PROTOCOL: http/protobuf
OTEL_SERVICE_NAME: {{ default (include "broker.fullname" .) $values.tracing.serviceName | quote }}
OTEL_TRACES_SAMPLER: {{ $values.tracing.sampler | quote }}
{{- with $values.tracing.samplerArg }}
OTEL_TRACES_SAMPLER_ARG: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "broker.vaultSettings" -}}
{{- $vault := .Values.vault }}
{{- $etc := "/etc/ims-token-broker" }}
BROKER_VAULT_ADDR: {{ $vault.addr | quote }}
BROKER_VAULT_AUTH: {{ $vault.auth }}
{{- with $vault.authMount }}
BROKER_VAULT_AUTH_MOUNT: {{ . | quote }}
{{- end }}
{{- if eq $vault.auth "token" }}
BROKER_VAULT_TOKEN_FILE: {{ default (printf "%s/vault/token" $etc) $vault.token.file | quote }}
{{- else if eq $vault.auth "approle" }}
BROKER_VAULT_ROLE_ID: {{ $vault.roleId | quote }}
BROKER_VAULT_SECRET_ID_FILE: {{ $etc }}/approle/secret_id
{{- else }}
BROKER_VAULT_ROLE: {{ $vault.role | quote }}
BROKER_VAULT_KUBERNETES_TOKEN_FILE: /var/run/secrets/ims-token-broker/vault/token
{{- end }}
BROKER_VAULT_MOUNT: {{ $vault.mount | quote }}
BROKER_VAULT_PREFIX: {{ $vault.prefix | quote }}
BROKER_VAULT_TRANSIT_MOUNT: {{ $vault.transitMount | quote }}
{{- if include "broker.hasCa" $vault.ca }}
BROKER_VAULT_CACERT: {{ $etc }}/ca/vault/ca.crt
{{- end }}
{{- with $vault.namespace }}
BROKER_VAULT_NAMESPACE: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "broker.redisUrl" -}}
{{- $redis := .Values.redis -}}
{{- $host := ternary (printf "[%s]" $redis.host) $redis.host (contains ":" $redis.host) -}}
{{- ternary "rediss" "redis" $redis.tls.enabled }}://{{ $host }}:{{ int $redis.port }}{{ with int $redis.database }}/{{ . }}{{ end -}}
{{- end -}}
