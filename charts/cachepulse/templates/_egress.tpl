{{/* The egress rules of a NetworkPolicy for all that reaches the targets: the agent and `helm test`. */}}
{{- define "cachepulse.egress" -}}
{{- $types := include "cachepulse.identityTypes" $ | fromJsonArray -}}
{{- $own := include "cachepulse.ownsConfig" $ -}}
{{- with .Values.networkPolicy -}}
# DNS
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
  {{- with .dns }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- with include "cachepulse.targetPorts" $ | fromJsonArray }}
# Targets
- ports:
    {{- range . }}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
  {{- with $.Values.networkPolicy.targets }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if include "cachepulse.visitsNodes" $ }}
# Nodes of clusters: Azure Cache for Redis with TLS and without, and Azure Managed Redis
- ports:
    - {protocol: TCP, port: 15000, endPort: 15999}
    - {protocol: TCP, port: 13000, endPort: 13999}
    - {protocol: TCP, port: 8500, endPort: 8599}
  {{- with .targets }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if or (not $own) (has "auto" $types) (has "managed_identity" $types) }}
# Managed identity: the metadata service of the machine
- ports:
    - {protocol: TCP, port: 80}
  to:
    - ipBlock: {cidr: 169.254.169.254/32}
{{- end }}
{{- if or (not $own) (without $types "managed_identity" "access_key" "password" "none") }}
# Entra ID. Its addresses are not fixed.
- ports:
    - {protocol: TCP, port: 443}
{{- end }}
{{- with .extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- end -}}
