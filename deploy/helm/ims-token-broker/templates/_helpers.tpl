{{/* Names and labels */}}

{{- define "broker.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "broker.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "broker.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The full name with a suffix, truncated so that the suffix stays whole: (list context suffix) */}}
{{- define "broker.named" -}}
{{- $suffix := index . 1 -}}
{{- include "broker.fullname" (index . 0) | trunc (int (sub 62 (len $suffix))) | trimSuffix "-" }}-{{ $suffix -}}
{{- end -}}

{{- define "broker.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* A name for a cluster-wide object contains the namespace, so that two releases do not collide: (list context suffix) */}}
{{- define "broker.clusterName" -}}
{{- $suffix := index . 1 -}}
{{- $context := index . 0 -}}
{{- printf "%s-%s-%s" (include "broker.namespace" $context) (include "broker.fullname" $context) $suffix -}}
{{- end -}}

{{- define "broker.serviceAccountName" -}}
{{- default (include "broker.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* The selector labels; immutable. The component keeps the pods of checks and tests out of the Service. */}}
{{- define "broker.selectorLabels" -}}
app.kubernetes.io/name: {{ include "broker.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: broker
{{- end -}}

{{/* Labels of an object: (list context component) */}}
{{- define "broker.labels" -}}
{{- $context := index . 0 -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/name" (include "broker.name" $context)
  "app.kubernetes.io/instance" $context.Release.Name
  "app.kubernetes.io/component" (index . 1)
  "app.kubernetes.io/part-of" "ims-token-broker"
  "app.kubernetes.io/managed-by" $context.Release.Service -}}
{{- with $context.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/version" . -}}
{{- end -}}
{{- toYaml (merge $own (deepCopy $context.Values.commonLabels)) -}}
{{- end -}}

{{/* The metadata of an object: (dict "context" "name" "component" "labels" "annotations" "namespace") */}}
{{- define "broker.metadata" -}}
{{- $context := .context -}}
{{- $labels := merge (include "broker.labels" (list $context (default "broker" .component)) | fromYaml) (default dict .labels) -}}
{{- $annotations := merge (deepCopy (default dict .annotations)) $context.Values.commonAnnotations -}}
name: {{ .name }}
{{- if not .clusterWide }}
namespace: {{ default (include "broker.namespace" $context) .namespace }}
{{- end }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- include "broker.tpl" (list $context .) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A value as YAML, passed through tpl: (list context value) */}}
{{- define "broker.tpl" -}}
{{- $value := index . 1 -}}
{{- tpl (kindIs "string" $value | ternary $value (toYaml $value)) (index . 0) -}}
{{- end -}}

{{- define "broker.image" -}}
{{- $image := .Values.image -}}
{{- with default $image.registry .Values.global.imageRegistry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{- define "broker.imagePullSecrets" -}}
{{- with concat (default list .Values.global.imagePullSecrets) .Values.imagePullSecrets | uniq -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "broker.replicaFloor" -}}
{{- ternary .Values.autoscaling.minReplicas .Values.replicaCount .Values.autoscaling.enabled | int -}}
{{- end -}}

{{- define "broker.replicaCeiling" -}}
{{- ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled | int -}}
{{- end -}}

{{- define "broker.tlsSecret" -}}
{{- .Values.tls.certManager.enabled | ternary (include "broker.named" (list . "tls")) .Values.tls.existingSecret -}}
{{- end -}}

{{- define "broker.servicePort" -}}
{{- default (ternary 443 80 .Values.tls.enabled) .Values.service.port | int -}}
{{- end -}}

{{- define "broker.serviceUrl" -}}
{{- ternary "https" "http" .Values.tls.enabled }}://{{ include "broker.fullname" . }}.{{ include "broker.namespace" . }}.svc:{{ include "broker.servicePort" . -}}
{{- end -}}

{{/* The port of a URL: its own, or that of its scheme */}}
{{- define "broker.portOf" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- default (ternary "443" "80" (eq $url.scheme "https")) $port -}}
{{- end -}}

{{/* Whether the broker uses a system; empty means no */}}
{{- define "broker.usesVault" -}}{{ if eq .Values.credentials.store "vault" }}true{{ end }}{{- end -}}
{{- define "broker.usesRedis" -}}{{ if ne .Values.redis.mode "memory" }}true{{ end }}{{- end -}}
{{- define "broker.usesKubernetesAuth" -}}
{{ if and (include "broker.usesVault" .) (has .Values.vault.auth (list "kubernetes" "jwt")) }}true{{ end }}
{{- end -}}
{{- define "broker.traces" -}}{{ if eq .Values.tracing.exporter "otlp" }}true{{ end }}{{- end -}}
{{- define "broker.hasCa" -}}{{ if or .existingSecret .existingConfigMap }}true{{ end }}{{- end -}}

{{/* Pods */}}

{{/* A projected source for one key: (dict "secret" "configMap" "key" "path") */}}
{{- define "broker.source" -}}
{{- if .secret -}}
- secret:
    name: {{ .secret | quote }}
{{- else -}}
- configMap:
    name: {{ .configMap | quote }}
{{- end }}
    items:
      - key: {{ .key | quote }}
        path: {{ .path | quote }}
{{- end -}}

{{- define "broker.policyVolume" -}}
{{- $policy := .Values.policy -}}
- name: policy
  {{- if $policy.existingSecret }}
  secret:
    secretName: {{ $policy.existingSecret | quote }}
    defaultMode: 0440
  {{- else }}
  configMap:
    name: {{ default .inlinePolicy $policy.existingConfigMap | quote }}
  {{- end }}
    items:
      - key: {{ $policy.key | quote }}
        path: policy.yaml
{{- end -}}

{{- define "broker.keysVolume" -}}
- name: keys
  secret:
    secretName: {{ .Values.cacheKeys.existingSecret | quote }}
    defaultMode: 0440
    items:
      - key: {{ .Values.cacheKeys.key | quote }}
        path: cache-keys.json
{{- end -}}

{{- define "broker.checkMounts" -}}
- name: policy
  mountPath: /etc/ims-token-broker/policy
  readOnly: true
{{- if include "broker.usesRedis" . }}
- name: keys
  mountPath: /etc/ims-token-broker/keys
  readOnly: true
{{- end }}
{{- end -}}

{{- define "broker.container" -}}
image: {{ include "broker.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Containers that fail if the policy or the key ring is invalid, as the broker itself would */}}
{{- define "broker.checks" -}}
- name: check-policy
  {{- include "broker.container" . | nindent 2 }}
  args: [policy, check, /etc/ims-token-broker/policy/policy.yaml]
  volumeMounts:
    - name: policy
      mountPath: /etc/ims-token-broker/policy
      readOnly: true
{{- if include "broker.usesRedis" . }}
- name: check-keys
  {{- include "broker.container" . | nindent 2 }}
  args: [keys, check, /etc/ims-token-broker/keys/cache-keys.json]
  volumeMounts:
    - name: keys
      mountPath: /etc/ims-token-broker/keys
      readOnly: true
{{- end }}
{{- end -}}

{{/* What the pods of checks and tests have in common: they run once, and have no access to the Kubernetes API */}}
{{- define "broker.oncePod" -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
{{- with include "broker.imagePullSecrets" . }}
{{ . }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "broker.inlinePolicy" -}}
{{- include "broker.tpl" (list . .Values.policy.inline) -}}
{{- end -}}
