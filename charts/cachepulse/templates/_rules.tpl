{{/*
The rule groups of a file, as the values want them: objective, runbooks, alerts that are left out or changed. Takes a list of
the root and the name of the file; returns YAML.
*/}}

{{- define "cachepulse.ruleGroups" -}}
{{- $root := index . 0 -}}
{{- $rule := $root.Values.prometheusRule -}}
{{- $text := $root.Files.Get (index . 1) | replace "0.999" (toString $rule.objective) -}}
{{- with $rule.runbookUrl -}}
{{- $text = $text | replace "https://example.com/runbooks" (trimSuffix "/" .) -}}
{{- end -}}
{{- $groups := list -}}
{{- $alerts := list -}}
{{- range ($text | fromYaml).groups -}}
  {{- $rules := list -}}
  {{- range .rules -}}
    {{- if .alert -}}
      {{- $alerts = append $alerts .alert -}}
      {{- $override := get $rule.overrides .alert | default dict -}}
      {{- $labels := merge (dict) (hasKey $override "severity" | ternary (dict "severity" (toString $override.severity)) dict) $rule.alertLabels (.labels | default dict) -}}
      {{- if not (has .alert $rule.disabled) -}}
        {{- $rules = append $rules (merge (dict "labels" $labels) (pick $override "for") .) -}}
      {{- end -}}
    {{- else -}}
      {{- $rules = append $rules . -}}
    {{- end -}}
  {{- end -}}
  {{- if $rules -}}
    {{- $groups = append $groups (merge (dict "rules" $rules) .) -}}
  {{- end -}}
{{- end -}}
{{- range concat $rule.disabled (keys $rule.overrides | sortAlpha) -}}
  {{- if not (has . $alerts) -}}
    {{- fail (printf "cachepulse: prometheusRule: unknown alert %q; the alerts are %s" . (join ", " (uniq $alerts))) -}}
  {{- end -}}
{{- end -}}
{{- toYaml (dict "groups" $groups) -}}
{{- end -}}
