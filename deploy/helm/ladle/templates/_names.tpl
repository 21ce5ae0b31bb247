{{/* Name of the objects. */}}
{{- define "ladle.name" -}}
{{- if contains "ladle" .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-ladle" .Release.Name | trunc 63 | trimSuffix "-" }}{{ end -}}
{{- end -}}

{{/* Labels by which the pods are selected. */}}
{{- define "ladle.selector" -}}
app.kubernetes.io/name: ladle
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of all objects. */}}
{{- define "ladle.labels" -}}
{{ include "ladle.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Reference of the image. */}}
{{- define "ladle.image" -}}
{{- $repository := required "image.repository is needed: where the image of deploy/Dockerfile is" .Values.image.repository -}}
{{- if .Values.image.digest }}{{ $repository }}@{{ .Values.image.digest }}{{ else }}{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* Arguments that say what is installed, a YAML list. */}}
{{- define "ladle.arguments" -}}
- --flavor={{ .Values.flavor }}
{{- if eq .Values.use "runtimeClass" }}
- --runtime={{ .Values.runtimeClass.name }}
{{- else if eq .Values.use "none" }}
- --register-only
{{- else }}
- --set-default
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}
