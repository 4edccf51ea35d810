{{/*
Templates that the chart of an application includes to run the agent as a sidecar. That chart adds this chart to its
dependencies, sets `mode: sidecar`, and passes the context of this chart:

  template:
    metadata:
      labels: {{- include "cachepulse.sidecar.labels" .Subcharts.cachepulse | nindent 8 }}
      annotations: {{- include "cachepulse.sidecar.annotations" .Subcharts.cachepulse | nindent 8 }}
    spec:
      initContainers: {{- include "cachepulse.sidecar.initContainers" .Subcharts.cachepulse | nindent 8 }}
      containers:
        - name: application
        {{- include "cachepulse.sidecar.containers" .Subcharts.cachepulse | nindent 8 }}
      volumes: {{- include "cachepulse.sidecar.volumes" .Subcharts.cachepulse | nindent 8 }}

`sidecar.native` decides which of initContainers and containers is empty. There is no startup probe and no readiness probe,
and the agent waits for its configuration instead of exiting. Kubernetes counts every container of a pod, so an agent that is
not running still makes the pod unready.
*/}}

{{- define "cachepulse.sidecar.initContainers" -}}
{{- if .Values.sidecar.native -}}
- restartPolicy: Always
  {{- include "cachepulse.sidecar.container" . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "cachepulse.sidecar.containers" -}}
{{- if not .Values.sidecar.native -}}
- {{ include "cachepulse.sidecar.container" . | indent 2 | trim }}
{{- end -}}
{{- end -}}

{{- define "cachepulse.sidecar.container" -}}
{{- include "cachepulse.validate" . -}}
{{- include "cachepulse.container" (list . .Values.sidecar.name .Values.sidecar.portName) -}}
{{- end -}}

{{- define "cachepulse.sidecar.volumes" -}}
- {{ include "cachepulse.volume" . | indent 2 | trim }}
{{- with include "cachepulse.webVolume" . }}
- {{ . | indent 2 | trim }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cachepulse.sidecar.labels" -}}
{{- include "cachepulse.sidecar.selectorLabels" . }}
{{- with include "cachepulse.identityLabels" . }}
{{ . }}
{{- end }}
{{- end -}}

{{/* Returns nothing without annotations, so that those of the application may follow. */}}
{{- define "cachepulse.sidecar.annotations" -}}
{{- include "cachepulse.podAnnotations" . -}}
{{- end -}}
