{{/* How Prometheus and `helm test` ask the endpoint: TLS and users. */}}

{{/*
The TLS settings of a scrape, or an empty mapping. Prometheus connects to the addresses of pods, which are in no certificate, so
they always have a server name.
*/}}
{{- define "cachepulse.scrapeTls" -}}
{{- with .Values.monitor.tlsConfig -}}
{{- $service := printf "%s.%s.svc" (include "cachepulse.fullname" $) (include "cachepulse.namespace" $) -}}
{{- merge (dict) . (dict "serverName" $service) | toYaml -}}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{/* Whether a client needs more than the address: "true" or nothing. */}}
{{- define "cachepulse.isGuarded" -}}
{{- if or .Values.webConfig.existingSecret .Values.config.http.web_config_file -}}true{{- end -}}
{{- end -}}

{{/*
Whether `helm test` can ask the endpoint: "true" or nothing. If it is guarded, the values of the scrape say how, unless they name
files of Prometheus.
*/}}
{{- define "cachepulse.canAsk" -}}
{{- with .Values.monitor -}}
{{- $files := pick .tlsConfig "caFile" "certFile" "keyFile" -}}
{{- if and $.Values.service.enabled (not $files) (or .tlsConfig .basicAuth (not (include "cachepulse.isGuarded" $))) -}}true{{- end -}}
{{- end -}}
{{- end -}}
