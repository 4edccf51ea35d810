"""Reads metrics in protobuf with Google's decoder and Prometheus' own definition of the format, which Debian's package of
client_model has and `tests/monitoring/tools` unpacks."""

import glob
import importlib
import pathlib
import sys
import tempfile

import grpc_tools
import live
from google.protobuf.internal.decoder import _DecodeVarint32 as decode_varint
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc_tools import protoc
from prometheus_client import Metric

KINDS = {"COUNTER": "counter", "GAUGE": "gauge", "HISTOGRAM": "histogram", "SUMMARY": "summary"}


def families(body):
    """Yields each family of a scrape, of histograms the classic part. A long family may come in parts."""
    definition, found, place = compiled(), {}, 0
    while place < len(body):
        length, place = decode_varint(body, place)
        message = definition.MetricFamily.FromString(body[place : place + length])
        assert message.SerializeToString(deterministic=True) == body[place : place + length], message.name
        place += length
        check_fields(message)
        kind = KINDS[definition.MetricType.Name(message.type)]
        name = message.name.removesuffix("_total") if kind == "counter" else message.name
        family = found.setdefault(name, Metric(name, message.help, kind))
        for metric in message.metric:
            add(family, message.name, metric)
    return found.values()


def add(family, name, metric):
    """Adds the samples of one metric, as the text format writes them."""
    labels = {label.name: label.value for label in metric.label}
    value = getattr(metric, family.type)
    if family.type in ("counter", "gauge"):
        family.add_sample(name, labels, value.value)
        return
    family.add_sample(f"{name}_count", labels, value.sample_count)
    family.add_sample(f"{name}_sum", labels, value.sample_sum)
    if family.type == "histogram":
        check(value)
        for bucket in value.bucket:
            family.add_sample(f"{name}_bucket", {**labels, "le": str(bucket.upper_bound)}, bucket.cumulative_count)


def check_fields(message):
    """A decoder keeps fields that the definition does not have, in the messages of a message as well."""
    assert not len(UnknownFieldSet(message)), message
    for field, value in message.ListFields():
        if field.message_type:
            for part in value if field.is_repeated else [value]:
                check_fields(part)


def check(histogram):
    """A histogram whose count is not that of its buckets fails a whole scrape in Prometheus."""
    counts = [bucket.cumulative_count for bucket in histogram.bucket]
    assert counts == sorted(counts) and counts[-1] == histogram.sample_count, histogram
    assert (histogram.schema, histogram.zero_threshold) == (3, 2.0**-128), histogram
    assert sum(span.length for span in histogram.positive_span) == len(histogram.positive_delta) <= 160, histogram
    assert all(span.offset >= 0 for span in histogram.positive_span[1:]), histogram
    bucket, count = 0, histogram.zero_count
    for delta in histogram.positive_delta:
        bucket += delta
        assert bucket >= 0, histogram
        count += bucket
    assert count == histogram.sample_count and histogram.HasField("created_timestamp"), histogram


def compiled():
    """Returns the module of the definition, which is compiled once."""
    if "metrics_pb2" not in sys.modules:
        source = pathlib.Path(glob.glob(f"{live.TOOLS}/client-model/**/metrics.proto", recursive=True)[0])
        common = pathlib.Path(grpc_tools.__file__).parent / "_proto"
        with tempfile.TemporaryDirectory() as folder:
            failed = protoc.main(["", f"-I{source.parent}", f"-I{common}", f"--python_out={folder}", str(source)])
            assert not failed, f"{source} cannot be compiled"
            sys.path.insert(0, folder)
            importlib.import_module("metrics_pb2")
            sys.path.remove(folder)
    return sys.modules["metrics_pb2"]
