{{/* Checks that the schema cannot express: values that contradict each other. Renders nothing. */}}

{{- define "cachepulse.validate" -}}
{{- $wi := .Values.azureWorkloadIdentity -}}
{{- $account := .Values.serviceAccount -}}
{{- $sidecar := eq .Values.mode "sidecar" -}}
{{- if and (include "cachepulse.ownsConfig" .) (not .Values.config.targets) (not .Values.config.target_files) -}}
{{- fail "cachepulse: no targets: set config.targets or existingConfigMap.name" -}}
{{- end -}}
{{- if and .Values.existingConfigMap.name .Values.config.targets -}}
{{- fail "cachepulse: config.targets and existingConfigMap.name are both set: keep one" -}}
{{- end -}}
{{- if not .Values.image.repository -}}
{{- fail "cachepulse: image.repository is not set: there is no published image, so build one with docker build, push it, and set image.repository" -}}
{{- end -}}
{{- if gt (int .Values.copies) 0 -}}
{{- if $sidecar -}}
{{- fail "cachepulse: a sidecar probes every target: leave out copies" -}}
{{- else if gt (int .Values.copies) (int .Values.replicas) -}}
{{- fail (printf "cachepulse: copies is %d, and there are only %d replicas" (int .Values.copies) (int .Values.replicas)) -}}
{{- else if .Values.config.partition -}}
{{- fail "cachepulse: config.partition has no effect with copies, which sets it: keep one" -}}
{{- end -}}
{{- end -}}
{{- $names := list -}}
{{- $folded := list -}}
{{- range .Values.config.targets -}}{{- $names = append $names .name -}}{{- $folded = append $folded (lower .name) -}}{{- end -}}
{{- if ne (len $names) (len (uniq $names)) -}}
{{- fail (printf "cachepulse: two targets have the same name: %s" (join ", " $names)) -}}
{{- else if ne (len $folded) (len (uniq $folded)) -}}
{{- fail (printf "cachepulse: two names of targets differ only in case, which Azure Monitor ignores: %s" (join ", " $names)) -}}
{{- end -}}
{{- if contains ":" .Values.image.repository -}}
{{- fail (printf "cachepulse: image.repository: %s: set a registry with a port in image.registry, and a tag in image.tag" .Values.image.repository) -}}
{{- end -}}
{{- if regexMatch "^(127\\.|\\[[0:]*:0*1\\]|\\[[0:]*:(?i:ffff):127\\.)" .Values.config.http.listen -}}
{{- fail "cachepulse: config.http.listen is a loopback address, which Prometheus and the kubelet cannot reach: set it to [::]:9860, for example" -}}
{{- end -}}
{{- range .Values.env -}}
{{- if eq .name "CACHEPULSE_HOST" -}}
{{- fail "cachepulse: env: CACHEPULSE_HOST is not allowed beside the configuration file that the chart mounts: set the host in config.targets" -}}
{{- end -}}
{{- end -}}
{{- $period := include "cachepulse.milliseconds" .Values.config.shutdown_grace_period | int64 -}}
{{- if and (not $sidecar) (include "cachepulse.ownsConfig" .) (gt $period (mul 1000 .Values.terminationGracePeriodSeconds)) -}}
{{- fail (printf "cachepulse: config.shutdown_grace_period, %s, is longer than terminationGracePeriodSeconds, %v: the kubelet would kill the agent before it has finished" .Values.config.shutdown_grace_period (int64 .Values.terminationGracePeriodSeconds)) -}}
{{- end -}}
{{- $http := .Values.config.http -}}
{{- $web := .Values.webConfig -}}
{{- if $web.existingSecret -}}
{{- if $http.web_config_file -}}
{{- fail "cachepulse: config.http.web_config_file and webConfig.existingSecret are both set: keep one" -}}
{{- end -}}
{{- if $http.health_listen -}}
{{- fail "cachepulse: config.http.health_listen has no effect with webConfig.existingSecret: set webConfig.healthPort" -}}
{{- end -}}
{{- if and $sidecar .Values.existingConfigMap.name -}}
{{- fail "cachepulse: a sidecar waits for its web configuration only if its configuration names it: with existingConfigMap, set http.web_config_file there, mount the file with extraVolumes, and leave out webConfig.existingSecret" -}}
{{- end -}}
{{- if eq (toString $web.healthPort) (include "cachepulse.port" .) -}}
{{- fail (printf "cachepulse: webConfig.healthPort is the port of config.http.listen, %s: choose another one" (include "cachepulse.port" .)) -}}
{{- end -}}
{{- else if $web.tlsSecret -}}
{{- fail "cachepulse: webConfig.tlsSecret has no effect: set webConfig.existingSecret to a Secret whose web configuration names its files" -}}
{{- else if and $http.web_config_file (not $http.health_listen) -}}
{{- fail "cachepulse: config.http.web_config_file needs config.http.health_listen, because the kubelet cannot sign in: set it to [::]:9861, for example, or set webConfig.existingSecret instead of both" -}}
{{- end -}}
{{- if eq (regexFind "[0-9]+$" ($http.health_listen | default "")) (include "cachepulse.port" .) -}}
{{- fail (printf "cachepulse: config.http.health_listen has the port of config.http.listen, %s: choose another one" (include "cachepulse.port" .)) -}}
{{- end -}}
{{- if regexMatch "^(127\\.|\\[[0:]*:0*1\\]|\\[[0:]*:(?i:ffff):127\\.)" ($http.health_listen | default "") -}}
{{- fail "cachepulse: config.http.health_listen is a loopback address, which the kubelet cannot reach: set it to [::]:9861, for example" -}}
{{- end -}}
{{- if and .Values.monitor.tlsConfig (eq .Values.monitor.scheme "http") -}}
{{- fail "cachepulse: monitor.tlsConfig has no effect with monitor.scheme: http: set https, or leave out monitor.scheme" -}}
{{- end -}}
{{- with .Values.monitor -}}
{{- if eq .kind "Probe" -}}
{{- if eq .apiGroup "azmonitoring.coreos.com" -}}
{{- fail "cachepulse: Azure Monitor has no Probe: set monitor.kind to ServiceMonitor or PodMonitor" -}}
{{- end -}}
{{- if not $.Values.config.targets -}}
{{- fail "cachepulse: a Probe lists the names in config.targets, and existingConfigMap hides them: set monitor.kind to ServiceMonitor or PodMonitor" -}}
{{- end -}}
{{- if .endpoint -}}
{{- fail "cachepulse: monitor.endpoint has no effect on a Probe: use monitor.spec" -}}
{{- end -}}
{{- end -}}
{{- if and .tlsConfig (not .tlsConfig.serverName) (or $sidecar (not $.Values.service.enabled)) -}}
{{- fail "cachepulse: monitor.tlsConfig.serverName is not set: without a Service, only you know for which name the certificate is valid" -}}
{{- end -}}
{{- if and (has .kind (list "PodMonitor" "Probe")) (pick .tlsConfig "caFile" "certFile" "keyFile") -}}
{{- fail (printf "cachepulse: the tlsConfig of a %s cannot name files of Prometheus: use ca, cert and keySecret" .kind) -}}
{{- end -}}
{{- end -}}
{{- if and $wi.enabled (not $sidecar) $account.create (not $wi.clientId) -}}
{{- fail "cachepulse: azureWorkloadIdentity.enabled needs azureWorkloadIdentity.clientId for the annotation of the service account" -}}
{{- end -}}
{{- if and $wi.enabled (not $sidecar) (not $account.create) (not $account.name) -}}
{{- fail "cachepulse: azureWorkloadIdentity.enabled needs a service account: set serviceAccount.create, or set serviceAccount.name to an annotated service account" -}}
{{- end -}}
{{- if not (regexMatch "^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?$" ($wi.clientId | default "")) -}}
{{- fail (printf "cachepulse: azureWorkloadIdentity.clientId: %s: expected the client id of the managed identity, a GUID, as `az identity show --query clientId` prints it" $wi.clientId) -}}
{{- end -}}
{{- if and (not $wi.enabled) $wi.identityBinding -}}
{{- fail "cachepulse: azureWorkloadIdentity.identityBinding has no effect: set azureWorkloadIdentity.enabled" -}}
{{- end -}}
{{- if and (not $wi.enabled) (or $wi.clientId $wi.tenantId) -}}
{{- fail "cachepulse: azureWorkloadIdentity.clientId and tenantId have no effect: set azureWorkloadIdentity.enabled" -}}
{{- end -}}
{{- if not $wi.enabled -}}
{{- range .Values.config.targets -}}
{{- $identity := .identity | default ($.Values.config.defaults | default dict).identity -}}
{{- $type := kindIs "map" $identity | ternary (get (kindIs "map" $identity | ternary $identity (dict)) "type") $identity -}}
{{- $file := get (kindIs "map" $identity | ternary $identity (dict)) "token_file" -}}
{{- if and (eq (toString $type) "workload_identity") (not $file) -}}
{{- fail (printf "cachepulse: target %q signs in with workload_identity: set azureWorkloadIdentity.enabled, or identity.token_file" .name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $identity := .Values.config.identities -}}
{{- $named := kindIs "map" $identity | ternary $identity (dict "type" $identity) -}}
{{- if and (eq (toString $named.type) "workload_identity") (not $named.token_file) -}}
{{- fail (printf "cachepulse: config.identities.%s signs in with workload_identity: set azureWorkloadIdentity.enabled, or token_file" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.prometheusRule.enabled (eq .Values.prometheusRule.kind "azure") -}}
{{- range $key := list "owner" "location" "workspaceId" -}}
{{- if not (get $.Values.prometheusRule.azure $key) -}}
{{- fail (printf "cachepulse: prometheusRule.kind: azure needs prometheusRule.azure.%s" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $sidecar -}}
{{- if has .Values.monitor.kind (list "ServiceMonitor" "Probe") -}}
{{- fail "cachepulse: a sidecar has no Service: set monitor.kind to PodMonitor" -}}
{{- end -}}
{{- if .Values.networkPolicy.enabled -}}
{{- fail "cachepulse: a NetworkPolicy for the sidecar would also block the application: set networkPolicy.enabled in mode deployment only" -}}
{{- end -}}
{{- if .Values.podDisruptionBudget.enabled -}}
{{- fail "cachepulse: the PodDisruptionBudget of a sidecar belongs to the application: set podDisruptionBudget.enabled in mode deployment only" -}}
{{- end -}}
{{- if and .Values.sidecar.native (semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "cachepulse: native sidecars need Kubernetes 1.29, and this is %s: set sidecar.native to false" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- else if and (has .Values.monitor.kind (list "ServiceMonitor" "Probe")) (not .Values.service.enabled) -}}
{{- fail (printf "cachepulse: a %s needs service.enabled; or set monitor.kind to PodMonitor" .Values.monitor.kind) -}}
{{- else if and .Values.service.enabled (regexMatch "^[0-9]" (include "cachepulse.fullname" .)) -}}
{{- fail (printf "cachepulse: %s cannot be the name of a Service, which begins with a letter: set fullnameOverride, or choose another name for the release" (include "cachepulse.fullname" .)) -}}
{{- end -}}
{{- end -}}

{{/* A duration such as `1m30s` in milliseconds; 0 for nothing. */}}
{{- define "cachepulse.milliseconds" -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(h|ms|m|s)" (toString (. | default "")) -1 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $factor := get (dict "h" 3600000 "m" 60000 "s" 1000 "ms" 1) $unit -}}
{{- $sum = addf $sum (mulf (regexFind "^[0-9.]+" . | float64) $factor) -}}
{{- end -}}
{{- $sum | int64 -}}
{{- end -}}
