"""Validates objects against Kubernetes, the Prometheus operator, Azure Monitor and Azure Service Operator: unknown fields and
wrong types are errors."""

import functools
import json

import jsonschema
from kubernetes_validate import utils

utils.schema_contents = functools.cache(utils.schema_contents)


def check(document, version):
    """Raises if an object is invalid for Kubernetes `version`."""
    check_text(json.dumps(document, sort_keys=True), version)


@functools.cache
def check_text(document, version):
    document = json.loads(document)
    schema = OPERATOR.get((document["apiVersion"], document["kind"]))
    if schema:
        jsonschema.validate(document, schema)
    else:
        # A kind without a schema is an error.
        utils.validate(document, version, strict=True)


def strict(required=(), **properties):
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


def any_of(names):
    return {name: {} for name in names.split()}


# The fields of the kinds that a chart uses, from the references of the Prometheus operator (0.93), Azure Monitor (July 2026)
# and Azure Service Operator (2.x).
TEXT = {"type": "string"}
BOOLEAN = {"type": "boolean"}
LABELS = {"type": "object", "additionalProperties": TEXT}
DURATION = {"type": "string", "pattern": r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$"}
METADATA = strict(["name", "namespace"], name=TEXT, namespace=TEXT, labels=LABELS, annotations=LABELS)
SELECTOR = strict(matchLabels=LABELS, matchExpressions={"type": "array"})
RELABELINGS = {
    "type": "array",
    "items": strict(
        action={"enum": "replace keep drop labelmap labeldrop labelkeep hashmod lowercase uppercase keepequal dropequal".split()},
        modulus={"type": "integer"},
        regex=TEXT,
        replacement=TEXT,
        separator=TEXT,
        sourceLabels={"type": "array", "items": TEXT},
        targetLabel=TEXT,
    ),
}
ENDPOINT = dict(
    port=TEXT,
    path={"type": "string", "pattern": "^/"},
    interval=DURATION,
    scrapeTimeout=DURATION,
    honorLabels=BOOLEAN,
    relabelings=RELABELINGS,
    metricRelabelings=RELABELINGS,
    **any_of("authorization basicAuth enableHttp2 filterRunning followRedirects honorTimestamps oauth2 params proxyUrl scheme"),
    **any_of("targetPort tlsConfig trackTimestampsStaleness noProxy proxyConnectHeader proxyFromEnvironment"),
)
MONITOR = dict(
    selector=SELECTOR,
    namespaceSelector=strict(any=BOOLEAN, matchNames={"type": "array", "items": TEXT}),
    scrapeClass=TEXT,
    convertClassicHistogramsToNHCB=BOOLEAN,
    **any_of("attachMetadata bodySizeLimit fallbackScrapeProtocol jobLabel keepDroppedTargets labelLimit labelNameLengthLimit"),
    **any_of("labelValueLengthLimit nativeHistogramBucketLimit nativeHistogramMinBucketFactor podTargetLabels sampleLimit"),
    **any_of("scrapeClassicHistograms scrapeProtocols selectorMechanism targetLimit"),
)


def monitor(kind, endpoints, **more):
    endpoint = strict(["port", "path"], **ENDPOINT)
    spec = strict(
        ["selector", endpoints], **{endpoints: {"type": "array", "minItems": 1, "items": endpoint}}, **MONITOR, **more
    )
    return strict(["metadata", "spec"], apiVersion=TEXT, kind={"const": kind}, metadata=METADATA, spec=spec)


# All that a Probe has of TLS is that of a SafeTLSConfig.
PROBE = strict(
    ["metadata", "spec"],
    apiVersion=TEXT,
    kind={"const": "Probe"},
    metadata=METADATA,
    spec=strict(
        ["prober", "targets"],
        jobName=TEXT,
        module=TEXT,
        interval=DURATION,
        scrapeTimeout=DURATION,
        metricRelabelings=RELABELINGS,
        prober=strict(
            ["url"], url={"type": "string", "pattern": "^[^/]+:[0-9]+$"}, path={"type": "string", "pattern": "^/"},
            scheme={"enum": ["http", "https"]}, **any_of("noProxy proxyConnectHeader proxyFromEnvironment proxyUrl"),
        ),
        targets=strict(
            staticConfig=strict(static={"type": "array", "items": TEXT}, labels=LABELS, relabelingConfigs=RELABELINGS), ingress={}
        ),
        tlsConfig=strict(**any_of("ca cert insecureSkipVerify keySecret maxVersion minVersion serverName")),
        scrapeClass=TEXT,
        scrapeNativeHistograms=BOOLEAN,
        convertClassicHistogramsToNHCB=BOOLEAN,
        **any_of("authorization basicAuth bearerTokenSecret fallbackScrapeProtocol keepDroppedTargets labelLimit labelNameLengthLimit"),
        **any_of("labelValueLengthLimit nativeHistogramBucketLimit nativeHistogramMinBucketFactor oauth2 params sampleLimit"),
        **any_of("scrapeClassicHistograms scrapeProtocols targetLimit"),
    ),
)

RULE = {
    "oneOf": [
        strict(["record", "expr"], record=TEXT, expr=TEXT, labels=LABELS),
        strict(["alert", "expr"], alert=TEXT, expr=TEXT, labels=LABELS, annotations=LABELS, **{"for": DURATION}, keep_firing_for=DURATION),
    ]
}
GROUP = strict(
    ["name", "rules"],
    name=TEXT,
    interval=DURATION,
    rules={"type": "array", "minItems": 1, "items": RULE},
    **any_of("labels limit partial_response_strategy query_offset"),
)
PROMETHEUS_RULE = strict(
    ["metadata", "spec"],
    apiVersion=TEXT,
    kind=TEXT,
    metadata=METADATA,
    spec=strict(["groups"], groups={"type": "array", "minItems": 1, "items": GROUP}),
)

# An object of the same namespace by its name, or a resource by its id.
ARM_ID = {"type": "string", "pattern": "^/subscriptions/"}
AZURE_DURATION = {"type": "string", "pattern": "^PT([0-9]+H)?([0-9]+M)?([0-9]+S)?$"}
AZURE_LABELS = {
    "type": "object",
    "maxProperties": 10,
    "propertyNames": {"pattern": "^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$"},
    "additionalProperties": {"type": "string", "maxLength": 1024},
}
AZURE_RULE = {
    "oneOf": [
        strict(["record", "expression"], record=TEXT, expression=TEXT, labels=AZURE_LABELS, enabled=BOOLEAN),
        strict(
            ["alert", "expression"],
            alert=TEXT,
            expression=TEXT,
            labels=AZURE_LABELS,
            annotations=AZURE_LABELS,
            enabled=BOOLEAN,
            severity={"type": "integer", "minimum": 0, "maximum": 4},
            resolveConfiguration=strict(autoResolved=BOOLEAN, timeToResolve=AZURE_DURATION),
            actions={
                "type": "array",
                "items": strict(["actionGroupReference"], actionGroupReference=strict(["armId"], armId=ARM_ID), actionProperties=LABELS),
            },
            **{"for": AZURE_DURATION},
        ),
    ]
}
RULE_GROUP = strict(
    ["metadata", "spec"],
    apiVersion=TEXT,
    kind=TEXT,
    metadata=METADATA,
    spec=strict(
        ["location", "owner", "rules", "scopesReferences"],
        azureName={"type": "string", "pattern": "^[^:@/#{}%&+*<>?]+$"},
        owner=strict(name=TEXT, armId=ARM_ID) | {"minProperties": 1, "maxProperties": 1},
        location={"type": "string", "minLength": 1},
        clusterName=TEXT,
        description=TEXT,
        enabled=BOOLEAN,
        interval={"type": "string", "pattern": "^PT([1-9]|1[0-5])M$"},
        rules={"type": "array", "minItems": 1, "maxItems": 20, "items": AZURE_RULE},
        scopesReferences={"type": "array", "minItems": 1, "items": strict(["armId"], armId=ARM_ID)},
        tags=LABELS,
        operatorSpec={"type": "object"},
    ),
)

# Azure's copies of the two kinds lack the fields that only the operator's have.
OPERATOR = {
    ("monitoring.coreos.com/v1", "PodMonitor"): monitor("PodMonitor", "podMetricsEndpoints", scrapeNativeHistograms=BOOLEAN),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): monitor(
        "ServiceMonitor", "endpoints", targetLabels={}, scrapeNativeHistograms=BOOLEAN, serviceDiscoveryRole=TEXT
    ),
    ("monitoring.coreos.com/v1", "Probe"): PROBE,
    ("monitoring.coreos.com/v1", "PrometheusRule"): PROMETHEUS_RULE,
    ("azmonitoring.coreos.com/v1", "PodMonitor"): monitor("PodMonitor", "podMetricsEndpoints"),
    ("azmonitoring.coreos.com/v1", "ServiceMonitor"): monitor("ServiceMonitor", "endpoints", targetLabels={}),
    ("alertsmanagement.azure.com/v1api20230301", "PrometheusRuleGroup"): RULE_GROUP,
}
