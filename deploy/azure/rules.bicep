// Written by `make azure-rules` from deploy/prometheus/rules.yaml.

targetScope = 'resourceGroup'

@description('Resource id of the Azure Monitor workspace.')
param workspaceId string

@description('Region of the rule groups.')
param location string = resourceGroup().location

@description('The label `cluster` of the series. If empty, the rules read all clusters of the workspace.')
param clusterName string = ''

@description('Resource ids of the action groups that every alert notifies.')
param actionGroupIds array = []

@description('The share of time that a cache must be available, between 0 and 1.')
param objective string = '0.999'

@description('Where your team reads docs/runbooks.')
param runbookUrl string = 'https://example.com/runbooks'

@description('The page /status of the agent. The default is that of `kubectl port-forward`.')
param statusUrl string = 'http://127.0.0.1:9860/status'

var suffix = empty(clusterName) ? '' : '-${clusterName}'
var actions = [for id in actionGroupIds: {
  actionGroupId: id
}]

resource cachepulseAvailability 'Microsoft.AlertsManagement/prometheusRuleGroups@2023-03-01' = {
  name: 'cachepulse-availability${suffix}'
  location: location
  properties: {
    scopes: [
      workspaceId
    ]
    clusterName: empty(clusterName) ? null : clusterName
    interval: 'PT1M'
    rules: [
      {
        record: 'cachepulse:slo:objective'
        expression: '${objective} * group by (cluster) (cachepulse_build_info)'
      }
      {
        record: 'cachepulse:unavailability:ratio5m'
        expression: 'clamp_max( min by (cluster, namespace, target) ( rate(cachepulse_unavailable_seconds_total[5m]) and cachepulse_unavailable_seconds_total ) and on (cluster, namespace) cachepulse_partition_targets and count by (cluster, namespace, target) (cachepulse_probes_total) > 1 or sum by (cluster, namespace, target) (rate(cachepulse_unavailable_seconds_total[5m])) / count by (cluster, namespace, target) (cachepulse_probes_total), 1 )'
      }
      {
        record: 'cachepulse:availability:ratio5m'
        expression: '1 - cachepulse:unavailability:ratio5m'
      }
      {
        record: 'cachepulse:availability:ratio30m'
        expression: '1 - sum_over_time(cachepulse:unavailability:ratio5m[30m:1m]) / 30'
      }
      {
        record: 'cachepulse:availability:ratio1h'
        expression: '1 - sum_over_time(cachepulse:unavailability:ratio5m[1h:1m]) / 60'
      }
      {
        record: 'cachepulse:availability:ratio6h'
        expression: '1 - sum_over_time(cachepulse:unavailability:ratio5m[6h:1m]) / 360'
      }
    ]
  }
}

resource cachepulseAvailabilityLong 'Microsoft.AlertsManagement/prometheusRuleGroups@2023-03-01' = {
  name: 'cachepulse-availability-long${suffix}'
  location: location
  properties: {
    scopes: [
      workspaceId
    ]
    clusterName: empty(clusterName) ? null : clusterName
    interval: 'PT2M'
    rules: [
      {
        record: 'cachepulse:availability:ratio3d'
        expression: '1 - sum_over_time(cachepulse:unavailability:ratio5m[3d:5m]) / 864'
      }
      {
        record: 'cachepulse:availability:ratio30d'
        expression: '1 - sum_over_time(cachepulse:unavailability:ratio5m[30d:5m]) / 8640'
      }
      {
        record: 'cachepulse:error_budget_remaining:ratio30d'
        expression: '1 - (1 - cachepulse:availability:ratio30d) / (1 - ${objective})'
      }
    ]
  }
}

resource cachepulseLatency 'Microsoft.AlertsManagement/prometheusRuleGroups@2023-03-01' = {
  name: 'cachepulse-latency${suffix}'
  location: location
  properties: {
    scopes: [
      workspaceId
    ]
    clusterName: empty(clusterName) ? null : clusterName
    interval: 'PT1M'
    rules: [
      {
        record: 'cachepulse:step_duration_seconds:p90_5m'
        expression: 'histogram_quantile(0.9, sum by (cluster, namespace, target, step, le) (rate(cachepulse_step_duration_seconds_bucket[5m]))) or histogram_quantile(0.9, sum by (cluster, namespace, target, step) (rate(cachepulse_step_duration_seconds[5m])))'
      }
    ]
  }
}

resource cachepulseSymptoms 'Microsoft.AlertsManagement/prometheusRuleGroups@2023-03-01' = {
  name: 'cachepulse-symptoms${suffix}'
  location: location
  properties: {
    scopes: [
      workspaceId
    ]
    clusterName: empty(clusterName) ? null : clusterName
    interval: 'PT1M'
    rules: [
      {
        record: 'cachepulse:copies_up:max'
        expression: 'max by (cluster, namespace, target) (cachepulse_probe_success) and on (cluster, namespace) cachepulse_partition_targets'
      }
      {
        record: 'cachepulse:shards_up:count'
        expression: 'count by (cluster, namespace, target) ( avg by (cluster, namespace, target, shard) (cachepulse_shard_success{role="primary"}) >= 0.5 or max by (cluster, namespace, target, shard) (cachepulse_shard_success{role="primary"}) > 0 and on (cluster, namespace) cachepulse_partition_targets )'
      }
      {
        record: 'cachepulse:shards_lost:count'
        expression: 'count by (cluster, namespace, target) ( min by (cluster, namespace, target, shard) (last_over_time(cachepulse_shard_success{role="primary"}[1h])) == 0 unless group by (cluster, namespace, target, shard) (cachepulse_shard_success{role="primary"}) ) and max by (cluster, namespace, target) (cachepulse_cluster_nodes_unwatched) > 0 or 0 * cachepulse:shards_up:count'
      }
      {
        record: 'cachepulse:shards_untried:count'
        expression: 'max by (cluster, namespace, target) (cachepulse_cluster_nodes{role="primary"}) - max by (cluster, namespace, target) (cachepulse_cluster_nodes_skipped) - max by (cluster, namespace, target) (cachepulse_cluster_nodes_unwatched) - count by (cluster, namespace, target) ( group by (cluster, namespace, target, shard) (cachepulse_shard_success{role="primary"}) )'
      }
      {
        alert: 'CachepulseCacheFailing'
        expression: 'min by (cluster, namespace, target) (cachepulse_probe_success) == 0 and max by (cluster, namespace, target) (rate(cachepulse_unavailable_seconds_total[5m])) > 0.1 unless cachepulse:shards_up:count > 0 unless cachepulse:shards_untried:count > 0 unless cachepulse:copies_up:max > 0'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] Cache {{ $labels.target }} is failing.'
          description: 'At least one agent has counted more than 30 s of outage of the cache {{ $labels.target }} in the last 5 minutes, and the cache still fails. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseCacheFailing.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseCacheDown'
        expression: 'avg by (cluster, namespace, target) (cachepulse_probe_success) < 0.5 and max by (cluster, namespace, target) (rate(cachepulse_unavailable_seconds_total[5m])) > 0.3 unless cachepulse:shards_up:count > 0 unless cachepulse:shards_untried:count > 0 unless cachepulse:copies_up:max > 0'
        severity: 1
        labels: {
          severity: 'critical'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] Cache {{ $labels.target }} is down.'
          description: 'The cache {{ $labels.target }} has been unavailable for more than 90 s of the last 5 minutes and still is. A planned failover takes less time. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseCacheDown.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseCopiesDisagree'
        expression: 'cachepulse:copies_up:max > 0 and min by (cluster, namespace, target) (cachepulse_probe_success) == 0'
        for: 'PT5M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] The copies of cache {{ $labels.target }} disagree.'
          description: 'The cache {{ $labels.target }} is up for some agents of the fleet, and has been down for others for 5 minutes. Applications near the others may fail as well. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseCopiesDisagree.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseShardDown'
        expression: '( count by (cluster, namespace, target) ( min by (cluster, namespace, target, shard) (cachepulse_shard_success{role="primary"}) == 0 and max by (cluster, namespace, target, shard) ( rate(cachepulse_shard_unavailable_seconds_total{role="primary"}[5m]) ) > 0.1 ) or cachepulse:shards_lost:count > 0 ) and cachepulse:shards_up:count > 0'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] Shards of cache {{ $labels.target }} are failing.'
          description: '{{ $value }} of the shards of the cache {{ $labels.target }} have failed for more than 30 s of the last 5 minutes for at least one agent, and still fail. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseShardDown.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseShardDown'
        expression: '( count by (cluster, namespace, target) ( avg by (cluster, namespace, target, shard) (cachepulse_shard_success{role="primary"}) < 0.5 and max by (cluster, namespace, target, shard) ( rate(cachepulse_shard_unavailable_seconds_total{role="primary"}[5m]) ) > 0.3 unless ( max by (cluster, namespace, target, shard) (cachepulse_shard_success{role="primary"}) > 0 and on (cluster, namespace) cachepulse_partition_targets ) ) or cachepulse:shards_lost:count > 0 ) and cachepulse:shards_up:count > 0'
        severity: 1
        labels: {
          severity: 'critical'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] Shards of cache {{ $labels.target }} are down.'
          description: '{{ $value }} of the shards of the cache {{ $labels.target }} have been unavailable for more than 90 s of the last 5 minutes and still are. Applications fail for the keys of these shards. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseShardDown.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseSlotsUncovered'
        expression: '16384 - min by (cluster, namespace, target) (cachepulse_cluster_slots_covered) > 0'
        for: 'PT1M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] Slots of cache {{ $labels.target }} have no owner.'
          description: '{{ $value }} of the 16384 hash slots of the cache {{ $labels.target }} belong to no node. Applications fail for the keys in these slots. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseSlotsUncovered.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseNewConnectionsFailing'
        expression: 'max by (cluster, namespace, target) (cachepulse_new_connection_consecutive_failures) >= 2'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] New connections to cache {{ $labels.target }} fail.'
          description: 'The last {{ $value }} probes of a new connection to the cache {{ $labels.target }} failed for at least one agent. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseNewConnectionsFailing.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseNewConnectionsFailing'
        expression: 'avg by (cluster, namespace, target) (cachepulse_new_connection_consecutive_failures >= bool 2) > 0.5 and avg by (cluster, namespace, target) (cachepulse_probe_success) >= 0.5 unless ( min by (cluster, namespace, target) (cachepulse_new_connection_consecutive_failures) < 2 and on (cluster, namespace) cachepulse_partition_targets )'
        for: 'PT5M'
        severity: 1
        labels: {
          severity: 'critical'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] New connections to cache {{ $labels.target }} have failed for 5 minutes.'
          description: 'New connections to the cache {{ $labels.target }} have failed for most agents, while open ones work. Applications fail as soon as they reconnect. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseNewConnectionsFailing.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseErrorBudgetBurningFast'
        expression: '( 1 - cachepulse:availability:ratio1h > 14.4 * (1 - ${objective}) and 1 - cachepulse:availability:ratio5m > 14.4 * (1 - ${objective}) ) or ( 1 - cachepulse:availability:ratio6h > 6 * (1 - ${objective}) and 1 - cachepulse:availability:ratio30m > 6 * (1 - ${objective}) )'
        severity: 1
        labels: {
          severity: 'critical'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] Cache {{ $labels.target }} burns its error budget fast.'
          description: 'The cache {{ $labels.target }} was unavailable for {{ $value | humanizePercentage }} of the last hours. At this rate, its error budget of 30 days is spent within 5 days or less. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseErrorBudgetBurningFast.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseErrorBudgetBurningSlowly'
        expression: '1 - cachepulse:availability:ratio3d > 1 - ${objective} and 1 - cachepulse:availability:ratio6h > 1 - ${objective}'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] Cache {{ $labels.target }} will miss its objective.'
          description: 'The cache {{ $labels.target }} was unavailable for {{ $value | humanizePercentage }} of the last 3 days. That is more than its objective allows. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseErrorBudgetBurningSlowly.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseLatencyHigh'
        expression: 'max by (cluster, namespace, target) (cachepulse:step_duration_seconds:p90_5m{step=~"ping|set|get"}) > 0.1'
        for: 'PT10M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] Cache {{ $labels.target }} is slow.'
          description: 'One in ten PING, SET or GET on the cache {{ $labels.target }} takes longer than {{ $value }} seconds. The latency has been high for 10 minutes.'
          runbook_url: '${runbookUrl}/CachepulseLatencyHigh.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
    ]
  }
}

resource cachepulseCauses 'Microsoft.AlertsManagement/prometheusRuleGroups@2023-03-01' = {
  name: 'cachepulse-causes${suffix}'
  location: location
  properties: {
    scopes: [
      workspaceId
    ]
    clusterName: empty(clusterName) ? null : clusterName
    interval: 'PT1M'
    rules: [
      {
        alert: 'CachepulseReplicaDown'
        expression: 'count by (cluster, namespace, target) ( max by (cluster, namespace, target, shard) (cachepulse_shard_success{role="replica"}) == 0 )'
        for: 'PT2M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] Replicas of cache {{ $labels.target }} are down.'
          description: '{{ $value }} of the shards of the cache {{ $labels.target }} have a replica that does not answer any agent. If the primary of such a shard fails too, the shard is down and its data may be lost.'
          runbook_url: '${runbookUrl}/CachepulseReplicaDown.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseSignInRejected'
        expression: 'sum by (cluster, namespace, target) ( rate(cachepulse_probe_failures_total{reason=~"no_token|token_expired|auth_rejected"}[5m]) ) > 0 and on (cluster, namespace, target) min by (cluster, namespace, target) (cachepulse_probe_success) == 0'
        for: 'PT1M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] The agent cannot sign in to cache {{ $labels.target }}.'
          description: 'Probes of the cache {{ $labels.target }} fail at sign-in. Other clients with the same identity probably fail too. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseSignInRejected.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseRightsTooSmall'
        expression: 'sum by (cluster, namespace, target) ( rate(cachepulse_step_results_total{result="denied"}[15m]) or rate(cachepulse_probe_failures_total{reason="permission_denied"}[15m]) ) > 0 or ( sum by (cluster, namespace, target) (cachepulse_topology_refreshes_total{result="denied"}) > 0 unless sum by (cluster, namespace, target) (increase(cachepulse_topology_refreshes_total{result="success"}[65m])) > 0 )'
        for: 'PT5M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] The agent has too few rights on cache {{ $labels.target }}.'
          description: 'The cache {{ $labels.target }} denies a command to the agent (NOPERM). If the command is required, probes fail with the reason permission_denied. If CLUSTER SLOTS is denied, only one node of the cluster is watched; the agent\'s /status says so. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseRightsTooSmall.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseNodesUnwatched'
        expression: 'max by (cluster, namespace, target) (cachepulse_cluster_nodes_unwatched + cachepulse_cluster_nodes_skipped) > 0'
        for: 'PT15M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] Nodes of cache {{ $labels.target }} are not watched.'
          description: '{{ $value }} of the nodes of the cache {{ $labels.target }} are not probed by at least one agent: it has never reached them, may not read them, or there are more than cluster.max_nodes. If one of them fails, no other alert says so. The agent\'s /status has the details: ${statusUrl}'
          runbook_url: '${runbookUrl}/CachepulseNodesUnwatched.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseSentinelQuorumLost'
        expression: 'max by (cluster, namespace, target) (cachepulse_sentinel_quorum) == 0'
        for: 'PT5M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] The sentinels of cache {{ $labels.target }} have no quorum.'
          description: 'Too few sentinels of the cache {{ $labels.target }} answer, or they do not reach each other. If the primary fails now, there is no failover.'
          runbook_url: '${runbookUrl}/CachepulseSentinelQuorumLost.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseTokenNotRenewed'
        expression: 'min by (cluster, namespace, identity) ( cachepulse_token_expiry_timestamp_seconds - time() < 600 unless ignoring (result) increase(cachepulse_token_refreshes_total{result="success"}[10m]) > 0 )'
        for: 'PT1M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] The token of {{ $labels.identity }} is not renewed.'
          description: 'The Entra token of {{ $labels.identity }} expires in {{ $value }} seconds, and no new token has been issued. At its expiry, caches close the connections that use it; reason then: token_expired.'
          runbook_url: '${runbookUrl}/CachepulseTokenNotRenewed.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseTokenRefreshFailing'
        expression: 'sum by (cluster, namespace, identity) (rate(cachepulse_token_refreshes_total{result="failure"}[15m])) > 0 unless sum by (cluster, namespace, identity) (rate(cachepulse_token_refreshes_total{result="success"}[15m])) > 0'
        for: 'PT2H'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] Token requests for {{ $labels.identity }} have failed for two hours.'
          description: 'Requests for an Entra token of {{ $labels.identity }} have failed for two hours. The current token, if there is one, is still valid. When it expires, probes fail with the reason token_expired or no_token.'
          runbook_url: '${runbookUrl}/CachepulseTokenRefreshFailing.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseCertificateEndsSoon'
        expression: 'min by (cluster, namespace, target) (cachepulse_tls_certificate_expiry_timestamp_seconds) - time() < 14 * 86400'
        for: 'PT15M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] The certificate of cache {{ $labels.target }} expires soon.'
          description: 'The certificate of the cache {{ $labels.target }} expires in {{ $value }} seconds, as of the agent\'s last connection. After that, clients cannot connect; reason then: tls_certificate.'
          runbook_url: '${runbookUrl}/CachepulseCertificateEndsSoon.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
    ]
  }
}

resource cachepulseAgent 'Microsoft.AlertsManagement/prometheusRuleGroups@2023-03-01' = {
  name: 'cachepulse-agent${suffix}'
  location: location
  properties: {
    scopes: [
      workspaceId
    ]
    clusterName: empty(clusterName) ? null : clusterName
    interval: 'PT1M'
    rules: [
      {
        alert: 'CachepulseAgentAbsent'
        expression: '( group by (cluster) ( up{cluster!=""} or last_over_time(group by (cluster) (cachepulse_build_info{cluster!=""})[1d:5m]) ) unless on (cluster) group by (cluster) (cachepulse_build_info) unless on () ( last_over_time(group(cachepulse_build_info{cluster=""})[1d:5m]) unless last_over_time(group(cachepulse_build_info{cluster!=""})[1d:5m]) ) ) or ( absent(cachepulse_build_info) unless group(up{cluster!=""} or last_over_time(group by (cluster) (cachepulse_build_info{cluster!=""})[1d:5m])) ) or ( last_over_time(group(cachepulse_build_info{cluster=""})[1d:5m]) unless group(cachepulse_build_info{cluster=""}) unless group( group by (cluster) (cachepulse_build_info{cluster!=""}) unless on (cluster) count_over_time( ( group by (cluster) (cachepulse_build_info{cluster!=""}) and on () group(cachepulse_build_info{cluster=""}) )[1d:5m] ) > 2 ) )'
        for: 'PT5M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] No cachepulse agent is scraped.'
          description: 'No cache is monitored there. No agent runs, or Prometheus no longer finds one. Without the name of a cluster, this is about agents without the label cluster.'
          runbook_url: '${runbookUrl}/CachepulseAgentAbsent.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseAgentDown'
        expression: 'up == 0 and on (cluster, namespace, job, instance) last_over_time(cachepulse_build_info[7d])'
        for: 'PT2M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] The agent {{ $labels.instance }} cannot be scraped.'
          description: 'Prometheus cannot scrape the agent {{ $labels.instance }} of job {{ $labels.job }}. Nobody monitors its targets, unless another agent probes them too.'
          runbook_url: '${runbookUrl}/CachepulseAgentDown.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseConfigurationRejected'
        expression: 'cachepulse_config_last_reload_successful == 0 or cachepulse_web_config_last_reload_successful == 0 or min by (cluster, namespace, job, instance) (cachepulse_target_file_valid) == 0'
        for: 'PT1M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] The agent {{ $labels.instance }} rejected its configuration.'
          description: 'The agent {{ $labels.instance }} could not load its configuration, a file with targets, or the web configuration of its endpoint, and keeps the previous one. Without a previous configuration it probes nothing. Its log lists each problem.'
          runbook_url: '${runbookUrl}/CachepulseConfigurationRejected.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseTargetsUnwatched'
        expression: 'max by (cluster, namespace) (cachepulse_partition_targets) - ( count by (cluster, namespace) ( group by (cluster, namespace, target) ( cachepulse_probes_total and on (cluster, namespace, job, instance) cachepulse_partition_targets ) ) or 0 * max by (cluster, namespace) (cachepulse_partition_targets) ) > 0'
        for: 'PT5M'
        severity: 1
        labels: {
          severity: 'critical'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] Caches of a fleet are not watched.'
          description: '{{ $value }} of the targets of the fleet have not been probed by any agent for 5 minutes. No other alert fires for them.'
          runbook_url: '${runbookUrl}/CachepulseTargetsUnwatched.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseAgentLate'
        expression: 'sum by (cluster, namespace, job, instance) (rate(cachepulse_late_ticks_total[10m])) / sum by (cluster, namespace, job, instance) (rate(cachepulse_probes_total[10m])) > 0.1'
        for: 'PT10M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] The agent {{ $labels.instance }} probes late.'
          description: '{{ $value | humanizePercentage }} of the probes of the agent {{ $labels.instance }} start late. It gets too little CPU, so its latencies are not reliable.'
          runbook_url: '${runbookUrl}/CachepulseAgentLate.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseAgentStalled'
        expression: 'count by (cluster, namespace, job, instance) ( increase(cachepulse_probes_total[5m]) == 0 unless on (cluster, namespace, job, instance, target) cachepulse_probe_interval_seconds > 120 )'
        for: 'PT3M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] The agent {{ $labels.instance }} has stopped probing.'
          description: 'The agent {{ $labels.instance }} is scraped, but has not probed {{ $value }} of its targets in the last 5 minutes. Its other metrics of these targets are out of date.'
          runbook_url: '${runbookUrl}/CachepulseAgentStalled.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
      {
        alert: 'CachepulseAgentStarved'
        expression: 'sum by (cluster, namespace, job, instance) (rate(cachepulse_probe_failures_total{reason="local_resource"}[5m])) > 0 or max by (cluster, namespace, job, instance) ( process_open_fds / process_max_fds > 0.9 and on (cluster, namespace, job, instance) cachepulse_build_info )'
        for: 'PT2M'
        severity: 2
        labels: {
          severity: 'warning'
        }
        annotations: {
          summary: '[{{ $labels.cluster }}] The agent {{ $labels.instance }} runs out of resources.'
          description: 'The agent {{ $labels.instance }} has used more than 90 % of its file descriptors, or its probes fail with the reason local_resource. It cannot monitor all of its targets.'
          runbook_url: '${runbookUrl}/CachepulseAgentStarved.md'
        }
        resolveConfiguration: {
          autoResolved: true
          timeToResolve: 'PT5M'
        }
        actions: actions
      }
    ]
  }
}
