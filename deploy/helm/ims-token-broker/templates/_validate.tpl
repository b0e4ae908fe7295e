{{/* Values that contradict each other stop the rendering with one sentence: the path of the value, and what to do */}}
{{- define "broker.validate" -}}
{{- $v := .Values -}}
{{- $floor := include "broker.replicaFloor" . | int -}}

{{- if not (or $v.policy.inline $v.policy.existingConfigMap $v.policy.existingSecret) -}}
{{- fail "policy.inline is empty: put the policy there, or set policy.existingConfigMap or policy.existingSecret." -}}
{{- end -}}
{{- include "broker.onlyOne" (dict "policy.inline" $v.policy.inline "policy.existingConfigMap" $v.policy.existingConfigMap "policy.existingSecret" $v.policy.existingSecret) -}}

{{- if regexMatch "itb_[A-Za-z0-9]{1,32}_[A-Za-z0-9_-]{16}" (include "broker.inlinePolicy" .) -}}
{{- fail "policy.inline holds an API key, and a ConfigMap is not safe for secrets; put its SHA-256 into api_key_sha256, and create a new key." -}}
{{- end -}}

{{- if and $v.secretRotation.enabled (not (include "broker.usesKubernetesAuth" .)) -}}
{{- fail "secretRotation.enabled needs vault.auth: kubernetes or jwt, so that the CronJob has a role of its own; otherwise run `secret rotate` elsewhere." -}}
{{- end -}}

{{- if include "broker.usesVault" . -}}
{{- if not $v.vault.addr -}}
{{- fail "vault.addr is required with credentials.store: vault; set it to Vault's URL, such as https://vault.example.com:8200." -}}
{{- end -}}
{{- if or $v.credentials.directory.secrets $v.credentials.directory.volume -}}
{{- fail "credentials.directory is for credentials.store: directory; change the store or remove it." -}}
{{- end -}}
{{- if and (has $v.vault.auth (list "kubernetes" "jwt")) (not $v.vault.role) -}}
{{- fail (printf "vault.role is required with vault.auth: %s; set it to the role of Vault's auth method." $v.vault.auth) -}}
{{- end -}}
{{- if and (eq $v.vault.auth "approle") (not $v.vault.roleId) -}}
{{- fail "vault.roleId is required with vault.auth: approle; set it to the role id." -}}
{{- end -}}
{{- if and (eq $v.vault.auth "token") (not (or $v.vault.token.existingSecret $v.vault.token.file)) -}}
{{- fail "vault.token.existingSecret is required with vault.auth: token; set it to a Secret with the token, or set vault.token.file." -}}
{{- end -}}
{{- include "broker.onlyOne" (dict "vault.token.existingSecret" $v.vault.token.existingSecret "vault.token.file" $v.vault.token.file) -}}
{{- if and (ne $v.vault.auth "token") (or $v.vault.token.existingSecret $v.vault.token.file) -}}
{{- fail (printf "vault.token is for vault.auth: token, not %s; change vault.auth or remove vault.token." $v.vault.auth) -}}
{{- end -}}
{{- if and (ne $v.vault.auth "approle") (or $v.vault.roleId $v.vault.secretId.existingSecret) -}}
{{- fail (printf "vault.roleId and vault.secretId are for vault.auth: approle, not %s; change vault.auth or remove them." $v.vault.auth) -}}
{{- end -}}
{{- else -}}
{{- if not (or $v.credentials.directory.secrets $v.credentials.directory.volume) -}}
{{- fail "credentials.directory.secrets is empty: list Secrets there, or set credentials.directory.volume, for credentials.store: directory." -}}
{{- end -}}
{{- include "broker.onlyOne" (dict "credentials.directory.secrets" $v.credentials.directory.secrets "credentials.directory.volume" $v.credentials.directory.volume) -}}
{{- if $v.vault.addr -}}
{{- fail "vault.addr is for credentials.store: vault; change the store or remove it." -}}
{{- end -}}
{{- end -}}

{{- if and $v.redis.host (ne $v.redis.mode "standalone") -}}
{{- fail (printf "redis.host is for redis.mode: standalone, not %s; change redis.mode or remove it." $v.redis.mode) -}}
{{- end -}}
{{- if and $v.redis.hosts (has $v.redis.mode (list "standalone" "memory")) -}}
{{- fail (printf "redis.hosts is for redis.mode: sentinel or cluster, not %s; change redis.mode or remove it." $v.redis.mode) -}}
{{- end -}}
{{- if and (eq $v.redis.mode "cluster") (int $v.redis.database) -}}
{{- fail "redis.database is for redis.mode: standalone or sentinel: a cluster has no database numbers; remove it." -}}
{{- end -}}
{{- if and (ne $v.redis.mode "sentinel") (or $v.redis.sentinel.primary $v.redis.sentinel.username $v.redis.sentinel.password.existingSecret) -}}
{{- fail (printf "redis.sentinel is for redis.mode: sentinel, not %s; change redis.mode or remove it." $v.redis.mode) -}}
{{- end -}}

{{- if include "broker.usesRedis" . -}}
{{- if and (eq $v.redis.mode "standalone") (not $v.redis.host) -}}
{{- fail "redis.host is required with redis.mode: standalone; set it, or set redis.mode: memory for one replica without Redis." -}}
{{- end -}}
{{- if and (ne $v.redis.mode "standalone") (not $v.redis.hosts) -}}
{{- fail (printf "redis.hosts is required with redis.mode: %s; list the Sentinels, or some nodes of the cluster." $v.redis.mode) -}}
{{- end -}}
{{- if and (eq $v.redis.mode "sentinel") (not $v.redis.sentinel.primary) -}}
{{- fail "redis.sentinel.primary is required with redis.mode: sentinel; set it to the primary's name at the Sentinels." -}}
{{- end -}}
{{- if and $v.redis.sentinel.username (not $v.redis.sentinel.password.existingSecret) -}}
{{- fail "redis.sentinel.username needs redis.sentinel.password.existingSecret; set it to a Secret with the password." -}}
{{- end -}}
{{- if not $v.cacheKeys.existingSecret -}}
{{- fail "cacheKeys.existingSecret is required with Redis; create a key ring with `ims-token-broker keys create`, and set this to a Secret with it." -}}
{{- end -}}
{{- if and (not $v.redis.tls.enabled) (include "broker.hasCa" $v.redis.tls.ca) -}}
{{- fail "redis.tls.ca is for redis.tls.enabled: true; turn TLS on or remove the CA." -}}
{{- end -}}
{{- if and (not $v.redis.tls.enabled) $v.redis.tls.clientCertificate.existingSecret -}}
{{- fail "redis.tls.clientCertificate is for redis.tls.enabled: true; turn TLS on or remove the certificate." -}}
{{- end -}}
{{- if and $v.redis.username (not $v.redis.password.existingSecret) -}}
{{- fail "redis.username needs redis.password.existingSecret; set it to a Secret with the user's password." -}}
{{- end -}}
{{- else -}}
{{- if and (gt (include "broker.replicaCeiling" . | int) 1) (not $v.redis.allowMemoryWithReplicas) -}}
{{- fail (printf "redis.mode: memory is for one replica; set %s, use Redis, or set redis.allowMemoryWithReplicas: true and accept one exchange per replica and purges that reach only one replica." (ternary "autoscaling.maxReplicas: 1" "replicaCount: 1" $v.autoscaling.enabled)) -}}
{{- end -}}
{{- end -}}

{{- if and (not $v.proxy.url) (or $v.proxy.username $v.proxy.password.existingSecret) -}}
{{- fail "proxy.url is required with proxy.username and proxy.password.existingSecret; set it, or remove them." -}}
{{- end -}}
{{- if ne (empty $v.proxy.username) (empty $v.proxy.password.existingSecret) -}}
{{- fail "proxy.username and proxy.password.existingSecret belong together; set both, or remove both." -}}
{{- end -}}

{{- range $path, $ca := dict "vault.ca" $v.vault.ca "redis.tls.ca" $v.redis.tls.ca "ims.ca" $v.ims.ca -}}
{{- include "broker.onlyOne" (dict (printf "%s.existingSecret" $path) $ca.existingSecret (printf "%s.existingConfigMap" $path) $ca.existingConfigMap) -}}
{{- end -}}

{{- include "broker.onlyOne" (dict "tls.existingSecret" $v.tls.existingSecret "tls.certManager.enabled" $v.tls.certManager.enabled) -}}
{{- if $v.tls.enabled -}}
{{- if not (or $v.tls.existingSecret $v.tls.certManager.enabled) -}}
{{- fail "tls.existingSecret is required with tls.enabled; set it to a TLS Secret, or set tls.certManager.enabled: true." -}}
{{- end -}}
{{- if and $v.tls.certManager.enabled (not $v.tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef.name is required with tls.certManager.enabled; set it to the name of the issuer." -}}
{{- end -}}
{{- else if or $v.tls.existingSecret $v.tls.certManager.enabled -}}
{{- fail "tls.enabled is false, but a certificate is configured; set tls.enabled: true or remove tls.existingSecret and tls.certManager." -}}
{{- end -}}
{{- if and $v.vault.clientCertificate.existingSecret (hasPrefix "http://" (lower $v.vault.addr)) -}}
{{- fail "vault.clientCertificate is for https:// only; change vault.addr or remove it." -}}
{{- end -}}
{{- if and $v.tls.enabled $v.broker.publicUrl (hasPrefix "http://" $v.broker.publicUrl) -}}
{{- fail "broker.publicUrl begins with http://, but tls.enabled is true; change it to https://." -}}
{{- end -}}

{{- if and (not $v.callers.kubernetes.enabled) $v.callers.kubernetes.tokenReview -}}
{{- fail "callers.kubernetes.tokenReview needs callers.kubernetes.enabled: true." -}}
{{- end -}}
{{- if and (include "broker.traces" .) (not $v.tracing.endpoint) -}}
{{- fail "tracing.endpoint is required with tracing.exporter: otlp; set it to the collector's URL, such as http://collector:4318." -}}
{{- end -}}
{{- if and (not (include "broker.traces" .)) $v.tracing.endpoint -}}
{{- fail "tracing.endpoint is for tracing.exporter: otlp, not off; change the exporter or remove it." -}}
{{- end -}}
{{- if and $v.audit.volume (not $v.audit.file) -}}
{{- fail "audit.volume needs audit.file; without it the audit log goes to standard output." -}}
{{- end -}}
{{- range $own := list "/tmp" "/etc/ims-token-broker" "/var/run/secrets" "/opt/broker" -}}
{{- if and $v.audit.file (hasPrefix (printf "%s/" $own) (printf "%s/" (dir $v.audit.file))) -}}
{{- fail (printf "audit.file is in %s, which is in use; use a separate folder, such as /var/log/ims-token-broker/audit.jsonl." $own) -}}
{{- end -}}
{{- end -}}

{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is greater than autoscaling.maxReplicas; change one of them." -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (not (or $v.autoscaling.targetCPUUtilizationPercentage $v.autoscaling.targetMemoryUtilizationPercentage $v.autoscaling.metrics)) -}}
{{- fail "autoscaling.enabled needs a target: set autoscaling.targetCPUUtilizationPercentage, targetMemoryUtilizationPercentage or metrics." -}}
{{- end -}}
{{- $min := toString $v.podDisruptionBudget.minAvailable -}}
{{- $max := toString $v.podDisruptionBudget.maxUnavailable -}}
{{- if and (ne $min "") (ne $max "") -}}
{{- fail "podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable exclude each other; remove one of them." -}}
{{- end -}}
{{- if and $v.podDisruptionBudget.enabled (gt $floor 1) -}}
{{- if and (regexMatch "^[0-9]+$" $min) (ge (int $min) $floor) -}}
{{- fail (printf "podDisruptionBudget.minAvailable must be less than the %d replicas that always run, or no node can be drained." $floor) -}}
{{- end -}}
{{- if or (eq $min "100%") (eq $max "0") (eq $max "0%") -}}
{{- fail "podDisruptionBudget allows no eviction, so that no node can be drained; change minAvailable or maxUnavailable." -}}
{{- end -}}
{{- end -}}

{{- /* 16: DRAIN_SECONDS of app/main.py; 12: IN_FLIGHT_SECONDS of app/bootstrap/broker.py; 10: MARGIN_SECONDS of app/main.py. */ -}}
{{- $least := add (int $v.preStopSleepSeconds) 16 12 10 | int -}}
{{- if lt (int $v.terminationGracePeriodSeconds) $least -}}
{{- fail (printf "terminationGracePeriodSeconds must be at least %d (preStopSleepSeconds, 16 for requests, 12 for exchanges, 10 for the rest), or in-flight requests are cut off." $least) -}}
{{- end -}}

{{- if and $v.secretRotation.enabled (not $v.secretRotation.serviceAccount.create) (not $v.secretRotation.serviceAccount.name) -}}
{{- fail "secretRotation.serviceAccount.name is required with secretRotation.serviceAccount.create: false; set it to an existing ServiceAccount." -}}
{{- end -}}

{{- if and $v.probe.enabled (not (and $v.probe.org $v.probe.existingSecret)) -}}
{{- fail "probe.org and probe.existingSecret are required with probe.enabled; set them to an org and to the Secret with an API key that may have it." -}}
{{- end -}}

{{- if and (not $v.serviceAccount.create) (not $v.serviceAccount.name) -}}
{{- fail "serviceAccount.name is required with serviceAccount.create: false; set it to an existing ServiceAccount." -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
{{- fail "ingress.hosts is required with ingress.enabled; list at least one host." -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs is required with httpRoute.enabled; list the gateway." -}}
{{- end -}}
{{- range $index, $variable := include "broker.tpl" (list . $v.extraEnv) | fromYamlArray -}}
{{- if hasPrefix "BROKER_" (upper $variable.name) -}}
{{- fail (printf "extraEnv[%d].name is %s: use the chart value for this setting, or a Secret that is mounted as a file." $index $variable.name) -}}
{{- end -}}
{{- end -}}
{{- $names := dict -}}
{{- range $v.credentials.directory.secrets -}}
{{- $path := printf "%s/%s" .org (default "default" .credential) -}}
{{- if hasKey $names $path -}}
{{- fail (printf "credentials.directory.secrets names %s twice; remove one of them." $path) -}}
{{- end -}}
{{- $_ := set $names $path true -}}
{{- end -}}
{{- end -}}

{{/* Fails if more than one of a dict of path -> value is set */}}
{{- define "broker.onlyOne" -}}
{{- $set := list -}}
{{- range $path, $value := . -}}
{{- if $value -}}{{- $set = append $set $path -}}{{- end -}}
{{- end -}}
{{- if gt (len $set) 1 -}}
{{- fail (printf "%s exclude each other; keep only one of them." (join " and " $set)) -}}
{{- end -}}
{{- end -}}
