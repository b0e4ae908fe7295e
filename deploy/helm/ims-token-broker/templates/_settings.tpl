{{/* The settings that are not secrets; an empty one counts as unset. Those that are just one value are in _plain_settings.tpl. */}}
{{- define "broker.settings" -}}
{{- $values := .Values -}}
{{- $etc := "/etc/ims-token-broker" -}}
{{- include "broker.plainSettings" . }}
{{- if $values.tls.enabled }}
BROKER_TLS_CERT_FILE: {{ $etc }}/tls/tls.crt
BROKER_TLS_KEY_FILE: {{ $etc }}/tls/tls.key
{{- end }}
BROKER_POLICY_FILE: {{ $etc }}/policy/policy.yaml
{{- if include "broker.usesVault" . }}
{{- include "broker.vaultSettings" . }}
{{- else }}
BROKER_CREDENTIAL_DIR: {{ $etc }}/credentials
{{- end }}
{{- if include "broker.usesRedis" . }}
BROKER_REDIS_URL: {{ include "broker.redisUrl" . | quote }}
{{- if $values.redis.password.existingSecret }}
BROKER_REDIS_PASSWORD_FILE: {{ $etc }}/redis/password
{{- end }}
{{- if $values.redis.sentinel.password.existingSecret }}
BROKER_REDIS_SENTINEL_PASSWORD_FILE: {{ $etc }}/redis-sentinel/password
{{- end }}
{{- if include "broker.hasCa" $values.redis.tls.ca }}
BROKER_REDIS_CACERT: {{ $etc }}/ca/redis/ca.crt
{{- end }}
{{- if $values.redis.tls.clientCertificate.existingSecret }}
BROKER_REDIS_CERT_FILE: {{ $etc }}/redis-tls/tls.crt
BROKER_REDIS_KEY_FILE: {{ $etc }}/redis-tls/tls.key
{{- end }}
BROKER_CACHE_KEYS_FILE: {{ $etc }}/keys/cache-keys.json
{{- end }}
{{- if include "broker.hasCa" $values.ims.ca }}
BROKER_IMS_CACERT: {{ $etc }}/ca/ims/ca.crt
{{- end }}
{{- if and $values.proxy.url $values.proxy.password.existingSecret }}
BROKER_PROXY_PASSWORD_FILE: {{ $etc }}/proxy/password
{{- end }}
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
{{- if eq $vault.auth "token" }}
BROKER_VAULT_TOKEN_FILE: {{ default (printf "%s/vault/token" $etc) $vault.token.file | quote }}
{{- else if eq $vault.auth "approle" }}
BROKER_VAULT_ROLE_ID: {{ $vault.roleId | quote }}
{{- if $vault.secretId.existingSecret }}
BROKER_VAULT_SECRET_ID_FILE: {{ $etc }}/approle/secret_id
{{- end }}
{{- else if ne $vault.auth "agent" }}
BROKER_VAULT_ROLE: {{ $vault.role | quote }}
BROKER_VAULT_KUBERNETES_TOKEN_FILE: /var/run/secrets/ims-token-broker/vault/token
{{- end }}
{{- if include "broker.hasCa" $vault.ca }}
BROKER_VAULT_CACERT: {{ $etc }}/ca/vault/ca.crt
{{- end }}
{{- if $vault.clientCertificate.existingSecret }}
BROKER_VAULT_CERT_FILE: {{ $etc }}/vault-tls/tls.crt
BROKER_VAULT_KEY_FILE: {{ $etc }}/vault-tls/tls.key
{{- end }}
{{- end -}}

{{- define "broker.redisUrl" -}}
{{- $redis := .Values.redis -}}
{{- $host := ternary (printf "[%s]" $redis.host) $redis.host (contains ":" $redis.host) -}}
{{- ternary "rediss" "redis" $redis.tls.enabled }}
{{- if eq $redis.mode "sentinel" }}+sentinel://{{ join "," $redis.hosts }}/{{ $redis.sentinel.primary }}
{{- else if eq $redis.mode "cluster" }}+cluster://{{ join "," $redis.hosts }}
{{- else }}://{{ $host }}:{{ int $redis.port }}
{{- end }}
{{- with int $redis.database }}/{{ . }}{{ end -}}
{{- end -}}

{{/* The ports of Redis, and of its Sentinels or the named nodes of a cluster, as a YAML list */}}
{{- define "broker.redisPorts" -}}
{{- $ports := list (int .Values.redis.port) -}}
{{- $default := ternary 26379 6379 (eq .Values.redis.mode "sentinel") -}}
{{- range .Values.redis.hosts -}}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" -}}
{{- $ports = append $ports (default $default $port | int) -}}
{{- end -}}
{{- $ports | uniq | toYaml -}}
{{- end -}}
