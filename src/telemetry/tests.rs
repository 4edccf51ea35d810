//! Lines as they are written, in both formats.

use std::io;
use std::time::{Duration, SystemTime};

use super::testing::Lines;
use super::*;

fn logged(filter: Filter, format: Format, events: impl FnOnce(&Telemetry)) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let clock = Clock::new(|| SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_597_200_123));
    let (subscriber, telemetry) = subscriber(filter, Level::Info, format, clock, move || writer.clone());
    let guard = testing::subscribe(subscriber);
    events(&telemetry);
    drop(guard);
    lines.text()
}

/// A happening with every kind of value.
fn happening() {
    let error = io::Error::other("WRONGPASS \"no\" such=user\n");
    tracing::warn!(
        target = "orders",
        outage_seconds = 3.2,
        attempts = 3_u64,
        offset = -1,
        first = true,
        ratio = f64::NAN,
        empty = "",
        %error,
        level = "own",
        "cache available"
    );
}

#[test]
fn the_format_can_change_while_lines_are_written() {
    let lines = logged(Filter::default(), Format::Text, |telemetry| {
        tracing::info!("first");
        telemetry.set_format(Format::Json);
        tracing::info!("second");
    });
    let formats: Vec<bool> = lines.lines().map(|line| line.starts_with('{')).collect();
    assert_eq!(formats, [false, true], "{lines}");
}

#[test]
fn a_line_of_text_is_logfmt() {
    assert_eq!(
        logged(Filter::default(), Format::Text, |_| happening()),
        concat!(
            "time=2026-11-25T09:00:00.123Z level=warn module=cachepulse::telemetry::tests ",
            "msg=\"cache available\" target=orders outage_seconds=3.2 attempts=3 offset=-1 first=true ratio=NaN ",
            "empty=\"\" error=\"WRONGPASS \\\"no\\\" such=user\\n\" level_=own\n"
        )
    );
}

#[test]
fn a_line_of_json_is_a_flat_object_with_the_same_keys() {
    let text = logged(Filter::default(), Format::Json, |_| happening());
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&text).unwrap(),
        serde_json::json!({
            "time": "2026-11-25T09:00:00.123Z",
            "level": "warn",
            "module": "cachepulse::telemetry::tests",
            "msg": "cache available",
            "target": "orders",
            "outage_seconds": 3.2,
            "attempts": 3,
            "offset": -1,
            "first": true,
            "ratio": "NaN",
            "empty": "",
            "error": "WRONGPASS \"no\" such=user\n",
            "level_": "own",
        })
    );
}

#[test]
fn a_key_is_a_word_in_logfmt_whatever_a_library_calls_its_field() {
    let text = logged(Filter::default(), Format::Text, |_| {
        tracing::warn!("http.status code=" = 500, r#type = "x", "request failed");
    });
    assert!(text.ends_with(" msg=\"request failed\" http.status_code_=500 type=x\n"), "{text}");
}

#[test]
fn the_configured_level_can_change_while_the_log_runs() {
    let text = logged(Filter::default(), Format::Text, |telemetry| {
        tracing::debug!("one");
        telemetry.set_configured_level(Level::Debug);
        tracing::debug!("two");
        telemetry.set_configured_level(Level::Warn);
        tracing::info!("three");
    });
    assert!(!text.contains("one") && text.contains("two") && !text.contains("three"), "{text}");
}

#[test]
fn a_reload_changes_no_level_of_a_flag_or_of_the_variable() {
    for (filter, _) in [Filter::new(Some(Level::Debug), ""), Filter::new(None, "debug")] {
        let text = logged(filter, Format::Text, |telemetry| {
            telemetry.set_configured_level(Level::Error);
            tracing::debug!("reloaded");
        });
        assert!(text.contains("msg=reloaded"), "{text}");
    }
}
