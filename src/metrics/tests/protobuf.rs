//! The protobuf format, read by a decoder that knows only the wire format.

use super::*;
use std::collections::HashMap;

/// The fields of a message, each with its number.
type Fields<'a> = Vec<(u64, Field<'a>)>;

#[derive(Clone, Copy, Debug)]
enum Field<'a> {
    Integer(u64),
    Double(f64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn delimited<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::try_from(varint(bytes)).unwrap();
    let (message, rest) = bytes.split_at(length);
    *bytes = rest;
    message
}

fn fields(mut bytes: &[u8]) -> Fields<'_> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Integer(varint(&mut bytes)),
            1 => {
                let (double, rest) = bytes.split_at(8);
                bytes = rest;
                Field::Double(f64::from_le_bytes(double.try_into().unwrap()))
            }
            2 => Field::Bytes(delimited(&mut bytes)),
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, field));
    }
    assert!(fields.is_sorted_by_key(|(number, _)| *number), "{fields:?}");
    fields
}

fn messages<'a>(fields: &Fields<'a>, number: u64) -> Vec<&'a [u8]> {
    let found = fields.iter().filter(|(it, _)| *it == number);
    found
        .map(|(_, field)| if let Field::Bytes(bytes) = field { *bytes } else { panic!("{field:?}") })
        .collect()
}

fn integers(fields: &Fields<'_>, number: u64) -> Vec<u64> {
    let found = fields.iter().filter(|(it, _)| *it == number);
    found
        .map(|(_, field)| if let Field::Integer(value) = field { *value } else { panic!("{field:?}") })
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Returns each series as the text format writes it, with its value; of a histogram only its count, and the number of its
/// native buckets beside.
fn decode(mut bytes: &[u8]) -> (Vec<String>, HashMap<String, f64>) {
    let (mut families, mut series) = (Vec::new(), HashMap::new());
    while !bytes.is_empty() {
        let family = fields(delimited(&mut bytes));
        let name = text(messages(&family, 1)[0]);
        assert_eq!(messages(&family, 2).len(), 1, "{name} has its help");
        for metric in messages(&family, 4).into_iter().map(fields) {
            let labels: Vec<String> = messages(&metric, 1)
                .into_iter()
                .map(|pair| {
                    let pair = fields(pair);
                    format!("{}=\"{}\"", text(messages(&pair, 1)[0]), text(messages(&pair, 2)[0]))
                })
                .collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let (number, Field::Bytes(value)) = metric[metric.len() - 1] else { panic!("{metric:?}") };
            let value = fields(value);
            let kind = integers(&family, 3)[0];
            assert_eq!(number, [3, 2, 4, 5, 7][usize::try_from(kind).unwrap()], "{name}");
            match (kind, value[0]) {
                (0 | 1, (1, Field::Double(value))) => drop(series.insert(format!("{name}{labels}"), value)),
                (2 | 4, (1, Field::Integer(count))) => {
                    if kind == 4 {
                        check_histogram(&value, count);
                    }
                    series.insert(format!("{name}_count{labels}"), count as f64);
                }
                _ => panic!("{name}: {value:?}"),
            }
        }
        families.push(name);
    }
    (families, series)
}

/// What Prometheus checks: the count is that of the buckets, and spans and deltas belong together.
fn check_histogram(histogram: &Fields<'_>, count: u64) {
    let classic: Vec<u64> =
        messages(histogram, 3).into_iter().map(|bucket| integers(&fields(bucket), 1)[0]).collect();
    assert!(classic.is_sorted() && classic.last() == Some(&count), "{classic:?} and {count}");
    let listed: u64 = messages(histogram, 12).into_iter().map(|span| integers(&fields(span), 2)[0]).sum();
    let signed = |value: u64| (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
    let deltas = integers(histogram, 13).into_iter().map(signed);
    assert_eq!(deltas.len() as u64, listed);
    let mut bucket = 0;
    let in_buckets: i64 = deltas
        .map(|delta| {
            bucket += delta;
            assert!(bucket >= 0);
            bucket
        })
        .sum();
    assert_eq!(in_buckets.cast_unsigned() + integers(histogram, 7)[0], count);
    assert_eq!(messages(histogram, 15).len(), 1, "the time of its creation");
}

#[test]
fn a_scrape_in_protobuf_has_the_series_and_values_of_the_text() {
    let metrics = metrics();
    let names: Vec<_> = (0..200).map(|number| name(&format!("shop-{number}"))).collect();
    let targets: Vec<_> = names.iter().map(|it| metrics.target(it)).collect();
    for target in &targets {
        record(target, &success(), at(1));
    }
    let _owners = script(&metrics);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut metrics.exposition(Format::Protobuf), &mut bytes).unwrap();
    let (families, decoded) = decode(&bytes);

    let text = super::text(&metrics);
    let expected: HashMap<String, f64> = text
        .lines()
        .filter_map(|line| line.rsplit_once(' ').filter(|_| !line.starts_with('#')))
        .filter(|(series, _)| {
            !series.contains("_bucket{") && !series.split('{').next().unwrap().ends_with("_sum")
        })
        .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
        .collect();
    let of_process = |series: &String| series.starts_with("process_");
    for (series, value) in expected.iter().filter(|(series, _)| !of_process(series)) {
        assert_eq!(decoded.get(series), Some(value), "{series}");
    }
    assert_eq!(decoded.len(), expected.len());
    // A long family comes in parts, one after the other.
    let mut distinct = families.clone();
    distinct.dedup();
    assert!(
        distinct.is_sorted() && distinct.len() < families.len() && families.len() < 100,
        "{}",
        families.len()
    );
}

#[test]
fn classic_buckets_have_the_bounds_of_the_text_and_those_of_phases_are_fewer() {
    let powers =
        |first: i32, step| (first..=5).step_by(step).map(|power| 2_f64.powi(power)).collect::<Vec<_>>();
    for (classic_factor, all, of_phases) in [
        (ClassicFactor::Two, powers(-14, 1), powers(-11, 2)),
        (ClassicFactor::Four, powers(-14, 2), powers(-8, 4)),
    ] {
        let metrics = metrics();
        metrics.configure(Settings { classic_factor, ..Settings::default() });
        let _owners = script(&metrics);
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut metrics.exposition(Format::Protobuf), &mut bytes).unwrap();
        let (mut rest, text, mut histograms) = (&*bytes, super::text(&metrics), 0);
        while !rest.is_empty() {
            let family = fields(delimited(&mut rest));
            let name = super::protobuf::text(messages(&family, 1)[0]);
            for metric in messages(&family, 4).into_iter().map(fields) {
                let Some(histogram) = messages(&metric, 7).first().map(|histogram| fields(histogram)) else {
                    continue;
                };
                let mut bounds: Vec<f64> = messages(&histogram, 3).into_iter().map(bound).collect();
                assert_eq!(bounds.pop(), Some(f64::INFINITY), "{name}");
                let is_of_phases = name == "cachepulse_phase_duration_seconds";
                assert_eq!(bounds, *if is_of_phases { &of_phases } else { &all }, "{name}");
                assert!(!messages(&histogram, 12).is_empty(), "{name} has native buckets");
                histograms += 1;
            }
        }
        let in_text = text.matches("le=\"+Inf\"").count();
        assert_eq!(histograms, in_text);
        let buckets = text.lines().filter(|line| line.contains("_bucket{")).count();
        let phases = Phase::ALL.len();
        assert_eq!(buckets - in_text, phases * of_phases.len() + (histograms - phases) * all.len());
    }
}

#[test]
fn a_limit_to_one_kind_of_histograms_leaves_the_buckets_of_the_other_out() {
    for (histograms, has_classic, has_native) in [
        (Histograms::Both, true, true),
        (Histograms::Classic, true, false),
        (Histograms::Native, false, true),
    ] {
        let metrics = metrics();
        metrics.configure(Settings { histograms, ..Settings::default() });
        let target = metrics.target(&name("orders"));
        record(&target, &success(), at(1));

        let series = series(&metrics, "cachepulse_probe_duration_seconds_");
        let has = |part: &str| series.iter().filter(|line| line.contains(part)).count();
        assert_eq!([has("_sum{"), has("_count{"), has("le=\"+Inf\"")], [1; 3], "{series:?}");
        assert_eq!(series.len() > 3, has_classic, "{histograms:?}: {series:?}");

        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut metrics.exposition(Format::Protobuf), &mut bytes).unwrap();
        let (mut rest, mut found) = (&*bytes, 0);
        while !rest.is_empty() {
            let family = fields(delimited(&mut rest));
            for metric in messages(&family, 4).into_iter().map(fields) {
                for histogram in messages(&metric, 7).into_iter().map(fields) {
                    // Those without observations have no native buckets, but a schema.
                    let (classic, schemas) = (messages(&histogram, 3), integers(&histogram, 5));
                    assert_eq!(!classic.is_empty(), has_classic, "{histograms:?}: {histogram:?}");
                    assert_eq!(!schemas.is_empty(), has_native, "{histograms:?}: {histogram:?}");
                    found += 1;
                }
            }
        }
        assert!(found > 3, "{found}");
    }
}

/// Returns the upper bound of a classic bucket.
fn bound(bucket: &[u8]) -> f64 {
    match fields(bucket)[1] {
        (2, Field::Double(bound)) => bound,
        other => panic!("{other:?}"),
    }
}

#[test]
fn labels_are_not_escaped() {
    let metrics = metrics();
    let _target = metrics.target(&name(r#"a"b\c"#));
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut metrics.exposition(Format::Protobuf), &mut bytes).unwrap();
    assert!(decode(&bytes).1.contains_key("cachepulse_probes_total{target=\"a\"b\\c\"}"));
}

#[test]
fn every_scrape_is_consistent_while_eight_threads_record() {
    let metrics = metrics();
    // Two threads write each target.
    let targets: Vec<_> =
        (0..8).map(|number| metrics.target(&name(&format!("shop-{}", number / 2)))).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = targets
            .iter()
            .map(|target| {
                scope.spawn(move || {
                    for microseconds in 1..3_000 {
                        let duration = Duration::from_micros(microseconds);
                        let mut phases = PhaseTimes::default();
                        phases.set(Phase::Connect, duration);
                        target.connected(&phases);
                        target.tick(duration, 1);
                        record(target, &Outcome { duration, ..success() }, at(microseconds));
                    }
                })
            })
            .collect();
        while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut metrics.exposition(Format::Protobuf), &mut bytes).unwrap();
            decode(&bytes);
            check_text(&super::text(&metrics));
        }
    });
    assert!(super::text(&metrics).contains("\ncachepulse_probes_total{target=\"shop-3\"} 5998\n"));
}

/// As Prometheus reads it: a value in each line, and in each histogram buckets that grow to the count.
fn check_text(text: &str) {
    assert!(text.ends_with('\n'));
    let (mut last, mut buckets) = (0, 0);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        if series.contains("_bucket{") {
            let count: u64 = value.parse().unwrap();
            assert!(count >= last, "{line} after {last}");
            if series.contains("le=\"+Inf\"") {
                (last, buckets) = (0, count);
            } else {
                last = count;
            }
        } else if series.split('{').next().is_some_and(|name| name.ends_with("_count")) {
            assert_eq!(value, buckets.to_string(), "{line}");
        }
    }
}
