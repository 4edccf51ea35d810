{{/* The agent's container, identical in a separate pod and in a sidecar. */}}

{{/* Arguments: the context, the name of the container and the name of its port. */}}
{{- define "cachepulse.container" -}}
{{- $context := index . 0 -}}
{{- $values := $context.Values -}}
name: {{ index . 1 | quote }}
image: {{ include "cachepulse.image" $context | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
args:
  - run
  - --config
  - {{ include "cachepulse.folder" $context }}/config.yaml
{{- if eq $values.mode "sidecar" }}
  # A sidecar that exits makes its pod unready. It waits for a valid configuration at the address that the probe knows.
  - --on-invalid-config
  - wait
  - --listen
  - {{ $values.config.http.listen | quote }}
{{- end }}
{{- $file := include "cachepulse.webConfigFile" $context }}
{{- $owned := include "cachepulse.ownsConfig" $context }}
{{- if and $file (not $owned) }}
  - --web-config-file
  - {{ $file | quote }}
{{- end }}
{{- $health := include "cachepulse.healthListen" $context }}
{{- if and $health (or (eq $values.mode "sidecar") (and $file (not $owned))) }}
  - --health-listen
  - {{ $health | quote }}
{{- end }}
{{- $copies := int $values.copies }}
{{- if gt $copies 0 }}
  - --partition-of
  - {{ $values.replicas | toString | quote }}
  - --partition-copies
  - {{ $copies | toString | quote }}
{{- end }}
ports:
  - name: {{ index . 2 }}
    containerPort: {{ include "cachepulse.port" $context }}
    protocol: TCP
{{- with include "cachepulse.healthPort" $context }}
  # For the kubelet alone. Without a name, because those of a sidecar's ports must be unique in the pod.
  - containerPort: {{ . }}
    protocol: TCP
{{- end }}
{{- if or $values.env (gt $copies 0) }}
env:
  {{- if gt $copies 0 }}
  # The pod's name ends with its ordinal.
  - name: CACHEPULSE_PARTITION_INDEX
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  {{- end }}
  {{- with $values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with $values.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
livenessProbe:
  httpGet: {path: /livez, port: {{ include "cachepulse.healthPort" $context | default (index . 2) }}}
  {{- with $values.livenessProbe }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
resources: {{- toYaml $values.resources | nindent 2 }}
securityContext: {{- toYaml $values.securityContext | nindent 2 }}
volumeMounts:
  - name: cachepulse-config
    mountPath: {{ include "cachepulse.folder" $context }}
    readOnly: true
{{- if $values.webConfig.existingSecret }}
  - name: cachepulse-web-config
    mountPath: {{ include "cachepulse.webFolder" $context }}
    readOnly: true
{{- end }}
{{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The pod label of Azure Workload Identity. The annotations are on the service account. */}}
{{- define "cachepulse.identityLabels" -}}
{{- if .Values.azureWorkloadIdentity.enabled -}}
azure.workload.identity/use: "true"
{{- end -}}
{{- end -}}

{{- define "cachepulse.podAnnotations" -}}
{{- $checksum := dict -}}
{{- /* A checksum on a sidecar would restart the application. */ -}}
{{- if and .Values.restartOnConfigChange (eq .Values.mode "deployment") (include "cachepulse.ownsConfig" .) -}}
{{- $checksum = dict "checksum/config" (include "cachepulse.checksum" .) -}}
{{- end -}}
{{- $binding := dict -}}
{{- if .Values.azureWorkloadIdentity.identityBinding -}}
{{- $binding = dict "azure.workload.identity/use-identity-binding" "true" -}}
{{- end -}}
{{- with merge (dict) $checksum $binding .Values.podAnnotations -}}{{- toYaml . -}}{{- end -}}
{{- end -}}
