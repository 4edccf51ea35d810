{{/* Names, labels and the image. */}}

{{- define "cachepulse.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "cachepulse.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- /* 53 leave room for what objects append to it. */ -}}
{{- /* Helm accepts dots in the name of a release, Kubernetes refuses them in that of a Service. */ -}}
{{- .Values.fullnameOverride | default $full | replace "." "-" | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "cachepulse.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- define "cachepulse.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "cachepulse.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* The selector of the agent's pods. Selectors are immutable. */}}
{{- define "cachepulse.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cachepulse.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: agent
{{- end -}}

{{/* The label of pods with a sidecar. Their name, instance and component are those of the application. */}}
{{- define "cachepulse.sidecar.selectorLabels" -}}
cachepulse-sidecar: {{ include "cachepulse.fullname" . | quote }}
{{- end -}}

{{/* Labels of every object. Arguments: the context and the object's labels. Labels that selectors use take precedence. */}}
{{- define "cachepulse.labels" -}}
{{- $context := index . 0 -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_" | trunc 63)
  "app.kubernetes.io/version" $context.Chart.AppVersion
  "app.kubernetes.io/managed-by" $context.Release.Service -}}
{{- $selector := include "cachepulse.selectorLabels" $context | fromYaml -}}
{{- merge (dict) $selector $own (index . 1) $context.Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "cachepulse.image" -}}
{{- $global := .Values.global | default dict -}}
{{- $registry := $global.imageRegistry | default .Values.image.registry -}}
{{- $repository := ternary (printf "%s/%s" $registry .Values.image.repository) .Values.image.repository (ne $registry "") -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "cachepulse.imagePullSecrets" -}}
{{- $global := .Values.global | default dict -}}
{{- with concat ($global.imagePullSecrets | default list) .Values.imagePullSecrets | uniq -}}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}
