{{/* Volumes of the broker's pods, and where they are mounted; secrets are files, never variables */}}

{{- define "broker.volumes" -}}
{{- $values := .Values -}}
- name: tmp
  emptyDir:
    {{- with $values.tmpVolume.medium }}
    medium: {{ . }}
    {{- end }}
    sizeLimit: {{ $values.tmpVolume.sizeLimit }}
{{ include "broker.policyVolume" (dict "Values" .Values "inlinePolicy" (include "broker.named" (list . "policy"))) }}
{{- if include "broker.usesRedis" . }}
{{ include "broker.keysVolume" . }}
{{- end }}
{{- if $values.tls.enabled }}
{{ include "broker.tlsVolume" (dict "name" "tls" "secret" (include "broker.tlsSecret" .)) }}
{{- end }}
{{- if include "broker.usesVault" . }}
{{- if include "broker.usesKubernetesAuth" . }}
{{ include "broker.vaultIdentityVolume" . }}
{{- end }}
{{- if and (eq $values.vault.auth "token") $values.vault.token.existingSecret }}
{{ include "broker.secretVolume" (dict "name" "vault-token" "secret" $values.vault.token.existingSecret "key" $values.vault.token.key "path" "token") }}
{{- end }}
{{- if and (eq $values.vault.auth "approle") $values.vault.secretId.existingSecret }}
{{ include "broker.secretVolume" (dict "name" "approle" "secret" $values.vault.secretId.existingSecret "key" $values.vault.secretId.key "path" "secret_id") }}
{{- end }}
{{- else }}
- name: credentials
  {{- if $values.credentials.directory.volume }}
  {{- include "broker.tpl" (list . $values.credentials.directory.volume) | nindent 2 }}
  {{- else }}
  projected:
    defaultMode: 0440
    sources:
      {{- range $values.credentials.directory.secrets }}
      {{- include "broker.source" (dict "secret" .secret "key" (default "credential.json" .key) "path" (printf "%s/%s.json" .org (default "default" .credential))) | nindent 6 }}
      {{- end }}
  {{- end }}
{{- end }}
{{- if and (include "broker.usesRedis" .) $values.redis.password.existingSecret }}
{{ include "broker.secretVolume" (dict "name" "redis-password" "secret" $values.redis.password.existingSecret "key" $values.redis.password.key "path" "password") }}
{{- end }}
{{- with $values.redis.sentinel.password }}
{{- if .existingSecret }}
{{ include "broker.secretVolume" (dict "name" "redis-sentinel" "secret" .existingSecret "key" .key "path" "password") }}
{{- end }}
{{- end }}
{{- if and $values.proxy.url $values.proxy.password.existingSecret }}
{{ include "broker.secretVolume" (dict "name" "proxy-password" "secret" $values.proxy.password.existingSecret "key" $values.proxy.password.key "path" "password") }}
{{- end }}
{{- if and (include "broker.usesVault" .) $values.vault.clientCertificate.existingSecret }}
{{ include "broker.tlsVolume" (dict "name" "vault-tls" "secret" $values.vault.clientCertificate.existingSecret) }}
{{- end }}
{{- if and (include "broker.usesRedis" .) $values.redis.tls.clientCertificate.existingSecret }}
{{ include "broker.tlsVolume" (dict "name" "redis-tls" "secret" $values.redis.tls.clientCertificate.existingSecret) }}
{{- end }}
{{- range $name, $ca := include "broker.cas" . | fromYaml }}
{{ include "broker.caVolume" (list $name $ca) }}
{{- end }}
{{- if $values.callers.kubernetes.enabled }}
- name: kubernetes
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          expirationSeconds: {{ int $values.callers.kubernetes.tokenExpirationSeconds }}
          path: token
      - configMap:
          name: kube-root-ca.crt
          items:
            - {key: ca.crt, path: ca.crt}
{{- end }}
{{- if $values.audit.file }}
- name: audit
  {{- if $values.audit.volume }}
  {{- include "broker.tpl" (list . $values.audit.volume) | nindent 2 }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- with $values.extraVolumes }}
{{ include "broker.tpl" (list $ .) }}
{{- end }}
{{- end -}}

{{/* The service-account token that is presented to Vault */}}
{{- define "broker.vaultIdentityVolume" -}}
- name: vault-identity
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          audience: {{ .Values.vault.audience | quote }}
          expirationSeconds: {{ int .Values.vault.tokenExpirationSeconds }}
          path: token
{{- end -}}

{{/* A CA bundle: (list system values) */}}
{{- define "broker.caVolume" -}}
{{- $ca := index . 1 -}}
- name: ca-{{ index . 0 }}
  projected:
    defaultMode: 0444
    sources:
      {{- include "broker.source" (dict "secret" $ca.existingSecret "configMap" $ca.existingConfigMap "key" $ca.key "path" "ca.crt") | nindent 6 }}
{{- end -}}

{{- define "broker.secretVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret | quote }}
    defaultMode: 0440
    items:
      - key: {{ .key | quote }}
        path: {{ .path }}
{{- end -}}

{{- define "broker.tlsVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret | quote }}
    defaultMode: 0440
    items:
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
{{- end -}}

{{/* The configured CA bundles, by the system that they are for */}}
{{- define "broker.cas" -}}
{{- $cas := dict -}}
{{- if and (include "broker.usesVault" .) (include "broker.hasCa" .Values.vault.ca) -}}{{- $_ := set $cas "vault" .Values.vault.ca -}}{{- end -}}
{{- if and (include "broker.usesRedis" .) (include "broker.hasCa" .Values.redis.tls.ca) -}}{{- $_ := set $cas "redis" .Values.redis.tls.ca -}}{{- end -}}
{{- if include "broker.hasCa" .Values.ims.ca -}}{{- $_ := set $cas "ims" .Values.ims.ca -}}{{- end -}}
{{- toYaml $cas -}}
{{- end -}}

{{- define "broker.mounts" -}}
{{- $values := .Values -}}
{{- $etc := "/etc/ims-token-broker" -}}
- name: tmp
  mountPath: /tmp
{{ include "broker.checkMounts" . }}
{{- if $values.tls.enabled }}
{{ include "broker.mount" (list "tls" (printf "%s/tls" $etc)) }}
{{- end }}
{{- if include "broker.usesVault" . }}
{{- if include "broker.usesKubernetesAuth" . }}
{{ include "broker.mount" (list "vault-identity" "/var/run/secrets/ims-token-broker/vault") }}
{{- end }}
{{- if and (eq $values.vault.auth "token") $values.vault.token.existingSecret }}
{{ include "broker.mount" (list "vault-token" (printf "%s/vault" $etc)) }}
{{- end }}
{{- if and (eq $values.vault.auth "approle") $values.vault.secretId.existingSecret }}
{{ include "broker.mount" (list "approle" (printf "%s/approle" $etc)) }}
{{- end }}
{{- else }}
{{ include "broker.mount" (list "credentials" (printf "%s/credentials" $etc)) }}
{{- end }}
{{- if and (include "broker.usesRedis" .) $values.redis.password.existingSecret }}
{{ include "broker.mount" (list "redis-password" (printf "%s/redis" $etc)) }}
{{- end }}
{{- if $values.redis.sentinel.password.existingSecret }}
{{ include "broker.mount" (list "redis-sentinel" (printf "%s/redis-sentinel" $etc)) }}
{{- end }}
{{- if and $values.proxy.url $values.proxy.password.existingSecret }}
{{ include "broker.mount" (list "proxy-password" (printf "%s/proxy" $etc)) }}
{{- end }}
{{- if and (include "broker.usesVault" .) $values.vault.clientCertificate.existingSecret }}
{{ include "broker.mount" (list "vault-tls" (printf "%s/vault-tls" $etc)) }}
{{- end }}
{{- if and (include "broker.usesRedis" .) $values.redis.tls.clientCertificate.existingSecret }}
{{ include "broker.mount" (list "redis-tls" (printf "%s/redis-tls" $etc)) }}
{{- end }}
{{- range $name, $_ := include "broker.cas" . | fromYaml }}
{{ include "broker.mount" (list (printf "ca-%s" $name) (printf "%s/ca/%s" $etc $name)) }}
{{- end }}
{{- if $values.callers.kubernetes.enabled }}
{{ include "broker.mount" (list "kubernetes" "/var/run/secrets/ims-token-broker/kubernetes") }}
{{- end }}
{{- with $values.audit.file }}
- name: audit
  mountPath: {{ dir . | quote }}
{{- end }}
{{- with $values.extraVolumeMounts }}
{{ include "broker.tpl" (list $ .) }}
{{- end }}
{{- end -}}

{{- define "broker.mount" -}}
- name: {{ index . 0 }}
  mountPath: {{ index . 1 }}
  readOnly: true
{{- end -}}
