{{/* The pods of `helm test`, one per check, because Helm prints the logs of pods with one container only. */}}

{{/* Whether there are tests: "true" or nothing. */}}
{{- define "cachepulse.hasTests" -}}
{{- if and (eq .Values.mode "deployment") (or (include "cachepulse.canAsk" .) .Values.tests.targets) -}}true{{- end -}}
{{- end -}}

{{- define "cachepulse.testLabels" -}}
app.kubernetes.io/name: {{ include "cachepulse.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end -}}

{{/* A pod up to its containers. Arguments: the context and the name of the check. */}}
{{- define "cachepulse.testPod" -}}
{{- $check := index . 1 -}}
{{- with index . 0 -}}
{{- $labels := merge (dict) (include "cachepulse.identityLabels" . | fromYaml) .Values.podLabels -}}
{{- $labels = merge (dict) (include "cachepulse.testLabels" . | fromYaml) (include "cachepulse.labels" (list . $labels) | fromYaml) -}}
{{- $hook := dict "helm.sh/hook" "test" "helm.sh/hook-delete-policy" "before-hook-creation" -}}
{{- $annotations := omit (include "cachepulse.podAnnotations" . | fromYaml) "checksum/config" -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "cachepulse.fullname" . }}-{{ $check }}
  namespace: {{ include "cachepulse.namespace" . | quote }}
  labels: {{- toYaml $labels | nindent 4 }}
  # A pod that has succeeded stays, because Helm reads its log after the test.
  annotations: {{- merge $hook $annotations | toYaml | nindent 4 }}
spec:
  # A failed check is repeated for up to a minute: right after an installation the agent may not be ready yet.
  restartPolicy: OnFailure
  activeDeadlineSeconds: 60
  {{- include "cachepulse.podSpec" . | nindent 2 }}
{{- end -}}
{{- end -}}
