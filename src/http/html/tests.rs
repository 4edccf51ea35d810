use std::borrow::Cow;
use std::io::Read as _;
use std::time::{Duration, SystemTime};

use super::*;
use crate::clock::Clock;
use crate::http::body::gzip;
use crate::http::query::InvalidQuery;
use crate::identity::Token;
use crate::maintenance::Announced;
use crate::probe::{
    Failure, FailureReason, Outcome, Phase, PhaseTimes, ServerInfo, Stage, Step, StepResult, StepResults,
};
use crate::secret::Secret;
use crate::status::{ConnectionInfo, ConnectionState, Filter, NoticeState, Status, TargetStatus};
use crate::target::{Endpoint, Target, TargetName};

const INTERVAL: Duration = Duration::from_secs(10);

/// A status and the targets in it.
struct Bench {
    status: Status,
    targets: Vec<TargetStatus>,
}

impl Bench {
    /// Creates targets of these names, all of which are available.
    fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let status = Status::new(Clock::from_tokio(SystemTime::UNIX_EPOCH));
        let targets = names.into_iter().map(|name| status.target(&Target::plain(name))).collect();
        status.started();
        let bench = Self { status, targets };
        bench.targets.iter().for_each(|target| bench.settle(target, None, Duration::ZERO));
        bench
    }

    fn settle(&self, target: &TargetStatus, failure: Option<Failure>, delay: Duration) {
        let mut steps = StepResults::default();
        let result = failure.map_or(Ok(()), Err);
        if result.is_ok() {
            // Nothing of it is repeated, as nothing is in practice.
            let took = Duration::from_nanos(fastrand::u64(200_000..900_000));
            for step in Step::ALL {
                steps.set(step, StepResult::Success, took);
            }
        }
        let (phases, duration) = (PhaseTimes::default(), Duration::from_millis(1));
        let outcome = Outcome { result, attempts: 1, duration, phases, steps, clients: None };
        let at = self.status.overview().now;
        target.record(&outcome, 1, delay, outcome.result.is_ok(), at);
    }

    fn fail(&self, place: usize, detail: &str) {
        let failure = Failure::new(FailureReason::ServerError, Stage::Step(Step::Set), detail);
        self.settle(&self.targets[place], Some(failure), Duration::ZERO);
    }

    /// Returns the page `/` with this query string.
    fn page(&self, query: &str) -> String {
        let get = |name: &'static str| {
            let mut parameters = form_urlencoded::parse(query.as_bytes());
            let value = parameters.find(|(key, _)| key == name).map(|(_, value)| value).unwrap_or_default();
            Ok::<Cow<'_, str>, InvalidQuery>(value)
        };
        let filter = Filter::new(&get("q").unwrap(), &get("state").unwrap()).unwrap();
        overview(&self.status.overview(), &filter, &View::new(get).unwrap())
    }

    fn headline(&self) -> String {
        headline::headline(&self.status.overview())
    }
}

/// Returns the names of the targets on a page, in order.
fn names(page: &str) -> Vec<&str> {
    let links = page.split("<a href=\"targets/").skip(1);
    links.map(|link| link.split_once("<bdi>").unwrap().1.split_once('<').unwrap().0).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_line_says_what_matters() {
    let bench = Bench::new([]);
    assert_eq!(bench.headline(), "No caches yet · agent healthy");
    bench.status.config_rejected(Some("no"));
    assert_eq!(bench.headline(), "No caches yet · new configuration rejected");
    bench.status.config_accepted();
    bench.status.web_config_rejected("no");
    assert_eq!(bench.headline(), "No caches yet · new web configuration rejected");
    bench.status.web_config_accepted();
    bench.status.target_file("a.yaml", Some("no"));
    assert_eq!(bench.headline(), "No caches yet · target file rejected");
    bench.status.target_file("a.yaml", None);

    let bench = Bench::new(["a", "b"]);
    assert_eq!(bench.headline(), "2 of 2 caches available · agent healthy");
    bench.fail(1, "");
    assert_eq!(bench.headline(), "1 of 2 caches available · 1 failing · agent healthy");
    let _new = bench.status.target(&Target::plain("c"));
    assert_eq!(bench.headline(), "1 of 3 caches available · 1 failing · 1 not probed yet · agent healthy");
    bench.settle(&bench.targets[0], None, Duration::from_millis(1_234));
    assert!(bench.headline().ends_with(" · agent starved: probes begin 1.23 s late"), "{}", bench.headline());
    bench.status.drain();
    assert!(bench.headline().ends_with(" · agent shutting down"));

    let status = Status::new(Clock::from_tokio(SystemTime::UNIX_EPOCH));
    let _target = status.target(&Target::plain("a"));
    let headline = || headline::headline(&status.overview());
    assert_eq!(headline(), "0 of 1 cache available · 1 not probed yet · agent starting");
    status.config_rejected(None);
    assert!(headline().ends_with(" · waiting for a valid configuration"));
}

#[tokio::test(start_paused = true)]
async fn the_interval_is_written_as_in_the_configuration() {
    for (milliseconds, written) in [(500, "500ms"), (10_000, "10s"), (90_000, "90s")] {
        let status = Status::new(Clock::from_tokio(SystemTime::UNIX_EPOCH));
        let interval = Duration::from_millis(milliseconds);
        let _target = status.target(&Target { interval, ..Target::plain("a") });
        let overview = status.overview();
        let page = target(&overview.details(&overview.targets[0]), overview.now, &View::default());
        assert!(page.contains(&format!("Last probes, every {written}: ")), "{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn targets_that_fail_come_first_and_each_group_is_in_order() {
    let bench = Bench::new(["a", "b", "c", "d"]);
    bench.fail(3, "");
    bench.fail(1, "");
    assert_eq!(names(&bench.page("")), ["b", "d", "a", "c"]);
    assert_eq!(names(&bench.page("state=failing")), ["b", "d"]);
    assert_eq!(names(&bench.page("state=failing&q=LOCALHOST")), ["b", "d"]);
    let none = bench.page("q=nothing");
    assert!(names(&none).is_empty() && none.contains("0 caches selected."), "{none}");
}

#[tokio::test(start_paused = true)]
async fn a_page_of_100_targets_takes_less_than_30_kb_compressed() {
    let names: Vec<_> = (0..100).map(|number| format!("orders-{number:04}")).collect();
    let bench = Bench::new(names.iter().map(String::as_str));
    for (number, target) in (0..).zip(&bench.targets) {
        target.connection(ConnectionState::Connected);
        target.connection_info(Some(&ConnectionInfo {
            address: Some(([10, 0, 0, number], 6380).into()),
            tls_version: Some("1.3"),
            username: Some(format!("00000000-0000-0000-0000-0000000000{number:02x}").into()),
        }));
        target.server(&ServerInfo::new("redis", "7.2.4", None, None));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(number));
        target.certificate_expiry(at + Duration::from_secs(40 * 86_400));
        target.new_connection(Ok(()), 0, PhaseTimes::default(), at);
    }
    for round in 0..360 {
        tokio::time::advance(INTERVAL).await;
        for (place, target) in bench.targets.iter().enumerate() {
            if (place + round) % 97 == 0 {
                bench.fail(place, "OOM command not allowed when used memory > 'maxmemory'.");
            } else {
                bench.settle(target, None, Duration::ZERO);
            }
        }
    }
    let page = bench.page("");
    assert_eq!(self::names(&page).len(), 100);
    let mut zipped = Vec::new();
    let level = flate2::Compression::default();
    gzip(Box::new(std::io::Cursor::new(page.into_bytes())), level).read_to_end(&mut zipped).unwrap();
    assert!(zipped.len() < 30_000, "{} bytes", zipped.len());
}

#[tokio::test(start_paused = true)]
async fn a_page_that_does_not_exist_is_the_last_one() {
    let names: Vec<_> = (0..250).map(|number| number.to_string()).collect();
    let bench = Bench::new(names.iter().map(String::as_str));
    for (query, page, count) in
        [("", 1, 100), ("page=2", 2, 100), ("page=3", 3, 50), ("page=99", 3, 50), ("page=", 1, 100)]
    {
        let text = bench.page(query);
        assert!(text.contains(&format!("Page {page} of 3")), "{query}");
        assert_eq!((self::names(&text).len(), text.contains("Next")), (count, page < 3), "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn links_keep_what_was_selected() {
    let names: Vec<_> = (0..250).map(|number| format!("a&b-{number}")).collect();
    let bench = Bench::new(names.iter().map(String::as_str));
    let page = bench.page("q=a%26b&state=up&page=2&refresh=off");
    for part in [
        "?refresh=off\"><bdi>a&amp;b-",
        "href=\"?q=a%26b&amp;state=up&amp;refresh=off\" rel=\"prev\"",
        "href=\"?q=a%26b&amp;state=up&amp;page=3&amp;refresh=off\" rel=\"next\"",
        "href=\"?q=a%26b&amp;state=up&amp;page=2\">Reload every",
        "name=\"q\" value=\"a&amp;b\"",
        "<option value=\"up\" selected>available<",
        "name=\"refresh\" value=\"off\"",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert!(!page.contains("http-equiv"));
    let live = bench.page("");
    assert!(
        live.contains("<meta http-equiv=\"refresh\" content=\"15\">") && !live.contains("type=\"hidden\"")
    );
}

#[tokio::test(start_paused = true)]
async fn no_text_from_elsewhere_becomes_markup() {
    for text in
        ["<script>x</script>", "\"><img src=x onerror=x>", "'x' & <b>", "</title></style>", "&lt;i&gt;"]
    {
        let bench = Bench::new([text]);
        bench.fail(0, text);
        bench.targets[0].server(&ServerInfo::new(text, text, None, None));
        let failure = Failure::new(FailureReason::Closed, Stage::Idle, text);
        bench.targets[0].new_connection(Err(failure), 1, PhaseTimes::default(), SystemTime::UNIX_EPOCH);
        bench.status.config_rejected(Some(text));
        let overview = bench.status.overview();
        let details = overview.details(&overview.targets[0]);
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("q", text).finish();
        for page in [bench.page(""), bench.page(&query), target(&details, overview.now, &View::default())] {
            assert!(!page.contains(text), "{text}\n{page}");
            let escaped =
                text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
            assert!(page.matches(&escaped).count() >= 4, "{escaped}\n{page}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_shows_its_connection_and_what_ends() {
    let bench = Bench::new(["orders"]);
    assert!(!bench.page("").contains("Certificate ends"));
    let [target] = &*bench.targets else { unreachable!("there is one target") };
    target.connection(ConnectionState::Connected);
    target.connection_info(Some(&ConnectionInfo {
        address: Some(([10, 0, 0, 4], 6380).into()),
        tls_version: Some("1.3"),
        username: Some("probe".into()),
    }));
    target.certificate_expiry(SystemTime::UNIX_EPOCH + Duration::from_secs(40 * 86_400));
    let page = bench.page("");
    assert!(page.contains("open · 10.0.0.4:6380 · TLS 1.3 · signed in as probe"), "{page}");
    assert!(page.contains(">in 40 days</time>") && page.contains("1970-02-10T00:00:00.000Z"), "{page}");
    target.connection_info(None);
    assert!(!bench.page("").contains("10.0.0.4"));
}

#[tokio::test(start_paused = true)]
async fn a_target_shows_since_when_it_fails_why_and_how_available_it_was() {
    let bench = Bench::new([]);
    // The label of the default identity.
    let identity = bench.status.identity("auto");
    let start = SystemTime::UNIX_EPOCH;
    identity
        .token(Duration::ZERO, &Token::new(Secret::new(String::new()), start + Duration::from_secs(7_200)));
    let endpoint = Endpoint { host: "localhost".into(), port: 6380 };
    let target = bench.status.target(&Target::with_defaults(TargetName::new("orders").unwrap(), endpoint));
    for _ in 0..60 {
        tokio::time::advance(INTERVAL).await;
        bench.settle(&target, None, Duration::ZERO);
    }
    target.new_connection(Ok(()), 0, PhaseTimes::default(), bench.status.overview().now);
    tokio::time::advance(INTERVAL).await;
    let detail = Failure::new(FailureReason::ReadOnly, Stage::Step(Step::Set), "READONLY");
    bench.settle(&target, Some(detail), Duration::ZERO);
    tokio::time::advance(Duration::from_secs(150)).await;
    let now = tokio::time::Instant::now();
    target.unavailable(now - Duration::from_secs(150), now, bench.status.overview().now);
    target.maintenance_notices(NoticeState::Received, "");
    target.maintenance_announced(Announced { is_active: true, scheduled: None });
    let page = bench.page("");
    for part in [
        "<b class=\"state\">failing</b> <time datetime=\"1970-01-01T00:10:10.000Z\" title=\"1970-01-01T00:10:10.000Z\">for 2 min</time>",
        "<dt>Available in 1 h</dt><dd>80.2 % <span class=\"dim\">(21.2 % watched)",
        "<dt>Available in 24 h</dt><dd>80.2 % <span class=\"dim\">(0.8 % watched)",
        ">2 min ago</time>: <b>read_only</b> at set: READONLY<p class=\"dim\">",
        FailureReason::ReadOnly.advice().split('`').next().unwrap(),
        "<dt>New connection</dt><dd>succeeded <time",
        "<dt>Token ends</dt><dd><time datetime=\"1970-01-01T02:00:00.000Z\"",
        ">in 1 h 47 min</time>",
        "<dt>Maintenance</dt><dd>notices received; none scheduled; maintenance active</dd>",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_was_rejected_is_shown_above_the_targets() {
    let bench = Bench::new(["orders"]);
    assert!(!bench.page("").contains("class=\"rejected\""));
    bench.status.config_rejected(Some("targets[0]: a"));
    bench.status.web_config_rejected("tls_server_config: b");
    bench.status.target_file("/t/<a>.yaml", Some("targets[0]: c"));
    let page = bench.page("");
    let places = [
        "The last configuration was rejected at 1970-01-01T00:00:00.000Z</h2><pre>targets[0]: a</pre>",
        "The last web configuration was rejected at 1970-01-01T00:00:00.000Z</h2><pre>tls_server_config: b</pre>",
        "The target file /t/&lt;a&gt;.yaml was rejected at 1970-01-01T00:00:00.000Z</h2><pre>targets[0]: c</pre>",
        "<bdi>orders</bdi>",
    ];
    let places = places.map(|part| page.find(part).unwrap_or_else(|| panic!("{part}\n{page}")));
    assert!(places.is_sorted(), "{page}");
    bench.status.config_accepted();
    bench.status.web_config_accepted();
    bench.status.target_file("/t/<a>.yaml", None);
    assert!(!bench.page("").contains("class=\"rejected\""));
}

#[tokio::test(start_paused = true)]
async fn of_many_rejected_files_with_targets_the_first_are_shown() {
    let bench = Bench::new([]);
    (0..7).for_each(|number| bench.status.target_file(&format!("{number}.yaml"), Some("no")));
    let page = bench.page("");
    assert!(page.contains("target file 4.yaml") && !page.contains("5.yaml"), "{page}");
    assert!(page.contains("2 more target files rejected. <a href=\"status\">"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn the_page_of_a_target_puts_failures_together_that_are_alike() {
    let bench = Bench::new(["a \"b\""]);
    for detail in ["one", "two", "two", "two", "one"] {
        tokio::time::advance(INTERVAL).await;
        bench.fail(0, detail);
    }
    let overview = bench.status.overview();
    let page = target(&overview.details(&overview.targets[0]), overview.now, &View::default());
    assert!(page.contains(">3 outcomes, from <time") && page.matches(": two<p class").count() == 1, "{page}");
    let query = "cachepulse_probe_success{target=&quot;a \\&quot;b\\&quot;&quot;}";
    assert!(page.contains(&format!("<code>{query}</code>")), "{page}");
    assert!(page.contains("<dt>interval</dt><dd>10s</dd>"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_failed_shows_the_stage_that_failed_and_its_time() {
    let bench = Bench::new(["a"]);
    let mut phases = PhaseTimes::default();
    phases.set(Phase::Resolve, Duration::from_millis(1));
    let failure = Failure::new(FailureReason::ConnectTimeout, Stage::Phase(Phase::Connect), "");
    let (steps, duration) = (StepResults::default(), Duration::from_millis(251));
    let outcome = Outcome { result: Err(failure), attempts: 1, duration, phases, steps, clients: None };
    bench.targets[0].record(&outcome, 1, Duration::ZERO, false, SystemTime::UNIX_EPOCH);
    let overview = bench.status.overview();
    let page = target(&overview.details(&overview.targets[0]), overview.now, &View::default());
    assert!(page.contains("<title>resolve 1.00 ms, connect 250 ms</title>"), "{page}");
    assert!(page.contains(" in 251 ms: connect_timeout at connect"), "{page}");
}

#[test]
fn the_longest_name_has_a_link_that_fits_a_request() {
    let name = "é".repeat(TargetName::MAX_LENGTH);
    let link = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC).to_string();
    assert!(link.len() < crate::http::MAX_REQUEST_HEADER / 2);
}
