{{/* What the schema cannot tell: values that do not go together. Says what to do, and renders nothing. */}}

{{- define "cachepulse.validate" -}}
{{- $wi := .Values.azureWorkloadIdentity -}}
{{- $account := .Values.serviceAccount -}}
{{- $sidecar := eq .Values.mode "sidecar" -}}
{{- if and (include "cachepulse.ownsConfig" .) (not .Values.config.targets) -}}
{{- fail "cachepulse: there is nothing to probe: give at least one target in config.targets, or existingConfigMap.name" -}}
{{- end -}}
{{- if and .Values.existingConfigMap.name .Values.config.targets -}}
{{- fail "cachepulse: config.targets and existingConfigMap.name both tell what to probe: keep one" -}}
{{- end -}}
{{- $names := list -}}
{{- range .Values.config.targets -}}{{- $names = append $names .name -}}{{- end -}}
{{- if ne (len $names) (len (uniq $names)) -}}
{{- fail (printf "cachepulse: two targets have the same name: %s" (join ", " $names)) -}}
{{- end -}}
{{- if regexMatch "^(127\\.|\\[::1\\])" .Values.config.http.listen -}}
{{- fail "cachepulse: on loopback neither Prometheus nor the kubelet's probes reach the agent: set config.http.listen to such as 0.0.0.0:9860" -}}
{{- end -}}
{{- if and $wi.enabled (not $sidecar) $account.create (not $wi.clientId) -}}
{{- fail "cachepulse: azureWorkloadIdentity.enabled needs azureWorkloadIdentity.clientId, for the service account's annotation" -}}
{{- end -}}
{{- if and $wi.enabled (not $sidecar) (not $account.create) (not $account.name) -}}
{{- fail "cachepulse: azureWorkloadIdentity.enabled needs a service account: set serviceAccount.create, or serviceAccount.name of an annotated one" -}}
{{- end -}}
{{- if and (not $wi.enabled) (or $wi.clientId $wi.tenantId) -}}
{{- fail "cachepulse: azureWorkloadIdentity.clientId and tenantId have no effect: set azureWorkloadIdentity.enabled" -}}
{{- end -}}
{{- if not $wi.enabled -}}
{{- range .Values.config.targets -}}
{{- $identity := .identity | default $.Values.config.defaults.identity -}}
{{- $type := kindIs "map" $identity | ternary (get (kindIs "map" $identity | ternary $identity (dict)) "type") $identity -}}
{{- $file := get (kindIs "map" $identity | ternary $identity (dict)) "token_file" -}}
{{- if and (eq (toString $type) "workload_identity") (not $file) -}}
{{- fail (printf "cachepulse: target %q signs in with workload_identity: set azureWorkloadIdentity.enabled, or identity.token_file" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $sidecar -}}
{{- if eq .Values.monitor.kind "ServiceMonitor" -}}
{{- fail "cachepulse: a sidecar has no Service: set monitor.kind to PodMonitor" -}}
{{- end -}}
{{- if .Values.networkPolicy.enabled -}}
{{- fail "cachepulse: a NetworkPolicy for the sidecar would cut off the application: set networkPolicy.enabled in mode deployment only" -}}
{{- end -}}
{{- if .Values.podDisruptionBudget.enabled -}}
{{- fail "cachepulse: the application's pods have a budget of their own: set podDisruptionBudget.enabled in mode deployment only" -}}
{{- end -}}
{{- if and .Values.sidecar.native (semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "cachepulse: native sidecars need Kubernetes 1.29, this is %s: set sidecar.native to false" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- else if and (eq .Values.monitor.kind "ServiceMonitor") (not .Values.service.enabled) -}}
{{- fail "cachepulse: a ServiceMonitor needs service.enabled; or set monitor.kind to PodMonitor" -}}
{{- end -}}
{{- end -}}
