{{- /*
Names are fixed: folders of the nodes, CRDs and the kubelet's resources are there once, so a cluster has one release.
A list of the context and a component is what most of these take.
*/}}
{{- define "subfunction.selector" -}}
app.kubernetes.io/name: subfunction
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "subfunction.labels" -}}
{{- $ := index . 0 -}}
{{ include "subfunction.selector" . }}
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/part-of: subfunction
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "subfunction.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* The environment of a program: a dict of its settings by their names here. A number of Helm's is a float. */}}
{{- define "subfunction.settings" -}}
{{- range $name, $value := . }}
- name: SUBFUNCTION_{{ $name | snakecase | upper }}
  {{- if kindIs "slice" $value }}
  value: {{ join " " $value | quote }}
  {{- else if and (kindIs "float64" $value) (eq (floor $value) $value) }}
  value: {{ int64 $value | quote }}
  {{- else }}
  value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* Ports and probes of a program that listens: a list of where it does, and whether it is in the host's network. */}}
{{- define "subfunction.listening" -}}
{{- $listen := index . 0 }}
{{- if $listen }}
{{- $port := regexFind "[0-9]+$" $listen }}
{{- $host := regexReplaceAll ":[0-9]+$" $listen "" | trimPrefix "[" | trimSuffix "]" }}
ports:
  - {name: metrics, containerPort: {{ $port }}, protocol: TCP}
livenessProbe:
  httpGet: {path: /livez, port: metrics{{ with $host }}, host: {{ . | quote }}{{ end }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: metrics{{ with $host }}, host: {{ . | quote }}{{ end }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}
{{- end }}

{{- /* What every container has: no way to more than it was given. A list: the program's values, capabilities to add. */}}
{{- define "subfunction.confinement" -}}
{{- $values := index . 0 -}}
{{- $capabilities := index . 1 -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  {{- with $capabilities }}
  add: {{ toJson . }}
  {{- end }}
seccompProfile: {type: RuntimeDefault}
{{- with $values.appArmorProfile }}
{{- if has . (list "RuntimeDefault" "Unconfined") }}
appArmorProfile: {type: {{ . }}}
{{- else }}
appArmorProfile: {type: Localhost, localhostProfile: {{ . | quote }}}
{{- end }}
{{- end }}
{{- with $values.seLinuxType }}
seLinuxOptions: {type: {{ . | quote }}}
{{- end }}
{{- end }}

{{- /* Where pods go. The program's values. */}}
{{- define "subfunction.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /*
The pod's token, bound to it and for one hour. The volume that Kubernetes mounts by itself asks for 3607 s, which API
servers make a year (--service-account-extend-token-expiration).
*/}}
{{- define "subfunction.token" -}}
- name: token
  projected:
    defaultMode: 0444
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}

{{- define "subfunction.token-mount" -}}
- {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}

{{- /* The folder of a simulated kernel: the same path inside and out, since device nodes are named by it. */}}
{{- define "subfunction.simulated" -}}/run/subfunction/simulated{{- end }}
