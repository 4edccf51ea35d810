{{/* The agent's configuration, and the files that it refers to. */}}

{{/* The port in config.http.listen. */}}
{{- define "cachepulse.port" -}}
{{- regexFind "[0-9]+$" .Values.config.http.listen -}}
{{- end -}}

{{/*
The listen address of the health endpoint, or nothing. With a web configuration, it is the address of the endpoint with
another port, because the kubelet can neither sign in nor show a certificate.
*/}}
{{- define "cachepulse.healthListen" -}}
{{- if .Values.webConfig.existingSecret -}}
{{- regexReplaceAll "[0-9]+$" .Values.config.http.listen (toString .Values.webConfig.healthPort) -}}
{{- else -}}
{{- .Values.config.http.health_listen | default "" -}}
{{- end -}}
{{- end -}}

{{/* The port of the health endpoint, or nothing. */}}
{{- define "cachepulse.healthPort" -}}
{{- regexFind "[0-9]+$" (include "cachepulse.healthListen" .) -}}
{{- end -}}

{{/* Whether the chart creates the configuration: "true" or nothing. */}}
{{- define "cachepulse.ownsConfig" -}}
{{- if not .Values.existingConfigMap.name -}}true{{- end -}}
{{- end -}}

{{- define "cachepulse.configMapName" -}}
{{- .Values.existingConfigMap.name | default (include "cachepulse.fullname" .) -}}
{{- end -}}

{{/* The folder with all files that the agent reads. */}}
{{- define "cachepulse.folder" -}}
/etc/cachepulse
{{- end -}}

{{/*
Returns `config` and `sources`. `config` is a copy of the configuration in which each secretRef and configMapRef is
replaced by the path of its mount. `sources` maps each of these paths to its source in the volume.
*/}}
{{- define "cachepulse.resolved" -}}
{{- $folder := include "cachepulse.folder" . -}}
{{- $config := deepCopy .Values.config -}}
{{- $sources := dict -}}
{{- $users := prepend ($config.targets | default list) ($config.defaults | default dict) -}}
{{- range $config.identities -}}{{- $users = append $users (dict "identity" .) -}}{{- end -}}
{{- range $users -}}
  {{- /* A target and its sentinels name secrets and certificates by the same keys. */ -}}
  {{- range list . (.sentinel | default dict) -}}
    {{- if kindIs "map" .identity -}}
      {{- range $secret := pick .identity "key" "password" "client_secret" "client_certificate" "token" -}}
        {{- with $secret.secretRef -}}
          {{- $path := printf "secrets/%s/%s" .name .key -}}
          {{- $_ := set $sources $path (dict "secret" (dict "name" .name "items" (list (dict "key" .key "path" $path)))) -}}
          {{- $_ := unset $secret "secretRef" -}}
          {{- $_ := set $secret "file" (printf "%s/%s" $folder $path) -}}
        {{- end -}}
      {{- end -}}
    {{- end -}}
    {{- range $files := list .tls (ternary .identity dict (kindIs "map" .identity)).client_certificate -}}
    {{- if kindIs "map" $files -}}
      {{- include "cachepulse.mountFiles" (list $files (list "ca_file" "cert_file" "key_file") $sources $folder) -}}
    {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- with $config.authorities -}}
  {{- include "cachepulse.mountFiles" (list . (keys .) $sources $folder) -}}
{{- end -}}
{{- if not $config.defaults -}}{{- $_ := unset $config "defaults" -}}{{- end -}}
{{- with include "cachepulse.webConfigFile" . -}}
{{- $_ := set $config.http "web_config_file" . -}}
{{- $_ := set $config.http "health_listen" (include "cachepulse.healthListen" $) -}}
{{- end -}}
{{- dict "config" $config "sources" $sources | toJson -}}
{{- end -}}

{{/* Replaces each secretRef and configMapRef below these keys of a mapping of files as above. Renders nothing. */}}
{{- define "cachepulse.mountFiles" -}}
{{- $files := index . 0 -}}
{{- $sources := index . 2 -}}
{{- $folder := index . 3 -}}
{{- range $key := index . 1 -}}
  {{- $file := get $files $key -}}
  {{- range $kind, $folderName := dict "secret" "secrets" "configMap" "config-maps" -}}
    {{- with get (ternary $file dict (kindIs "map" $file)) (printf "%sRef" $kind) -}}
      {{- $path := printf "%s/%s/%s" $folderName .name .key -}}
      {{- $_ := set $sources $path (dict $kind (dict "name" .name "items" (list (dict "key" .key "path" $path)))) -}}
      {{- $_ := set $files $key (printf "%s/%s" $folder $path) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* The text of config.yaml. */}}
{{- define "cachepulse.config" -}}
{{- toYaml (include "cachepulse.resolved" . | fromJson).config -}}
{{- end -}}

{{/* A checksum that changes with the configuration. */}}
{{- define "cachepulse.checksum" -}}
{{- include "cachepulse.config" . | sha256sum -}}
{{- end -}}

{{/*
The volume with config.yaml and the files that it refers to. Changed secrets need no restart. For a sidecar every source is
optional: the application must not wait for a Secret of its agent, which waits for it by itself.
*/}}
{{- define "cachepulse.volume" -}}
{{- $sources := (include "cachepulse.resolved" . | fromJson).sources -}}
{{- $sidecar := eq .Values.mode "sidecar" -}}
name: cachepulse-config
projected:
  # World-readable, because the image's user owns no files. Only this container mounts the volume.
  defaultMode: 0444
  sources:
    - configMap:
        name: {{ include "cachepulse.configMapName" . | quote }}
        items:
          - key: {{ ternary "config.yaml" .Values.existingConfigMap.key (eq (include "cachepulse.ownsConfig" .) "true") | quote }}
            path: config.yaml
        {{- if $sidecar }}
        optional: true
        {{- end }}
    {{- range $path := keys $sources | sortAlpha }}
    {{- range $kind, $source := index $sources $path }}
    - {{ $kind }}: {{- merge (dict) $source ($sidecar | ternary (dict "optional" true) dict) | toYaml | nindent 8 }}
    {{- end }}
    {{- end }}
{{- end -}}

{{/* The folder with the web configuration and the files beside it. */}}
{{- define "cachepulse.webFolder" -}}
/etc/cachepulse-web
{{- end -}}

{{/* The path of the web configuration that the chart mounts, or nothing. */}}
{{- define "cachepulse.webConfigFile" -}}
{{- with .Values.webConfig -}}
{{- if .existingSecret -}}{{- printf "%s/%s" (include "cachepulse.webFolder" $) .key -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* The volume with the web configuration and the files beside it, if there is one. For a sidecar it is optional, as above. */}}
{{- define "cachepulse.webVolume" -}}
{{- $optional := eq .Values.mode "sidecar" -}}
{{- with .Values.webConfig -}}
{{- if .existingSecret -}}
name: cachepulse-web-config
projected:
  defaultMode: 0444
  sources:
    {{- range without (list .existingSecret .tlsSecret | uniq) "" }}
    - secret:
        name: {{ . | quote }}
        {{- if $optional }}
        optional: true
        {{- end }}
    {{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The identity types of all targets, and those that files with targets may use. */}}
{{- define "cachepulse.identityTypes" -}}
{{- $defaults := .Values.config.defaults | default dict -}}
{{- $identities := list -}}
{{- range .Values.config.targets -}}
  {{- $identities = append $identities (.identity | default $defaults.identity | default "auto") -}}
{{- end -}}
{{- if .Values.config.target_files -}}
  {{- $identities = concat $identities (compact (list $defaults.identity)) (values (.Values.config.identities | default dict)) -}}
{{- end -}}
{{- $types := list -}}
{{- range $identity := $identities -}}
  {{- if kindIs "map" $identity -}}{{- $identity = $identity.type | default "auto" -}}{{- end -}}
  {{- $types = append $types $identity -}}
{{- end -}}
{{- $types | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/*
Whether the agent may visit the nodes of a cluster: unless every target is known and has sentinels or `cluster.mode: off`,
which Helm may parse as false.
*/}}
{{- define "cachepulse.visitsNodes" -}}
{{- $defaults := .Values.config.defaults | default dict -}}
{{- $visits := or (not (include "cachepulse.ownsConfig" .)) .Values.config.target_files -}}
{{- range .Values.config.targets -}}
  {{- $cluster := .cluster | default $defaults.cluster | default dict -}}
  {{- $mode := hasKey $cluster "mode" | ternary $cluster.mode "auto" | toString -}}
  {{- $visits = or $visits (not (or .sentinel (has $mode (list "off" "false")))) -}}
{{- end -}}
{{- if $visits -}}true{{- end -}}
{{- end -}}

{{/*
The ports of all targets. A target without a port gets one by the rule of the agent. One with sentinels gets theirs, and
6379 for the primary.
*/}}
{{- define "cachepulse.targetPorts" -}}
{{- $defaults := .Values.config.defaults | default dict -}}
{{- $managed := "\\.(redis\\.azure\\.net|redisenterprise\\.cache\\.azure\\.net|redis\\.usgovcloudapi\\.net|redis\\.chinacloudapi\\.cn|redis\\.sovcloud-api\\.(de|fr))\\.?$" -}}
{{- $ports := list -}}
{{- if include "cachepulse.ownsConfig" . -}}
{{- range .Values.config.targets -}}
  {{- $tls := hasKey . "tls" | ternary .tls (hasKey $defaults "tls" | ternary $defaults.tls true) -}}
  {{- $byTls := eq (toString $tls) "false" | ternary 6379 6380 -}}
  {{- with .sentinel -}}
    {{- $ports = append $ports 6379 -}}
    {{- range .addresses -}}
      {{- $ports = append $ports (regexFind "(^[^:]+|\\]):[0-9]+$" . | regexFind "[0-9]+$" | default 26379 | int) -}}
    {{- end -}}
  {{- else -}}
    {{- $byHost := regexMatch $managed (lower .host) | ternary 10000 $byTls -}}
    {{- $ports = append $ports (.port | default $defaults.port | default $byHost | int) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- range .Values.networkPolicy.targetPorts -}}{{- $ports = append $ports (int .) -}}{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}
