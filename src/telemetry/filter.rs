//! Which events are logged: one level for the agent, and directives for single modules.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use super::Level;

/// The variable that Rust programs take directives from.
pub(super) const VARIABLE: &str = "RUST_LOG";
/// What a directive may say.
pub(super) const DIRECTIVE: &str = "off, error, warn, info, debug or trace, alone or as MODULE=LEVEL";

/// The agent's own events.
const OURS: &str = env!("CARGO_PKG_NAME");

/// What a flag and `RUST_LOG` say about the log, both of which the configuration file cannot override.
#[derive(Debug, Default)]
pub(super) struct Filter {
    level: Option<LevelFilter>,
    modules: Vec<(String, LevelFilter)>,
}

impl Filter {
    /// Reads `variable`, unless there is a `flag`, which takes precedence. Returns the directives that make no sense,
    /// too.
    pub(super) fn new(flag: Option<Level>, variable: &str) -> (Self, Vec<&str>) {
        let mut filter = Self { level: flag.map(LevelFilter::from), modules: Vec::new() };
        let mut rejected = Vec::new();
        if flag.is_some() {
            return (filter, rejected);
        }
        for directive in variable.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            match (directive.split_once('='), level(directive)) {
                (None, Some(level)) => filter.level = Some(level),
                (Some((module, name)), _) if is_module(module) => match level(name) {
                    Some(level) => filter.modules.push((module.to_owned(), level)),
                    None => rejected.push(directive),
                },
                _ => rejected.push(directive),
            }
        }
        (filter, rejected)
    }

    /// The events to log where the configuration file's level is `configured`.
    ///
    /// A level applies to the agent's own events. Those of libraries are logged from warnings up, whatever the level:
    /// at debug, HTTP clients log requests and their headers. A directive for the library's module changes that.
    pub(super) fn targets(&self, configured: Level) -> Targets {
        let level = self.level.unwrap_or_else(|| configured.into());
        let targets = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(OURS, level);
        targets.with_targets(self.modules.iter().map(|(module, level)| (module.as_str(), *level)))
    }
}

fn level(name: &str) -> Option<LevelFilter> {
    if name.eq_ignore_ascii_case("off") {
        return Some(LevelFilter::OFF);
    }
    let named = Level::ALL.into_iter().find(|level| name.eq_ignore_ascii_case(level.as_str()));
    named.map(LevelFilter::from)
}

fn is_module(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_:-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level as Severity;

    fn enabled(filter: &Filter, module: &str, level: Severity) -> bool {
        filter.targets(Level::Info).would_enable(module, &level)
    }

    #[test]
    fn a_level_is_for_the_agent_and_libraries_are_logged_from_warnings_up() {
        for filter in [Filter::new(Some(Level::Trace), "").0, Filter::new(None, "trace").0] {
            assert!(enabled(&filter, "cachepulse::prober", Severity::TRACE));
            assert!(enabled(&filter, "rustls", Severity::WARN));
            assert!(!enabled(&filter, "azure_core::http", Severity::INFO));
        }
        let (errors, _) = Filter::new(Some(Level::Error), "");
        assert!(!enabled(&errors, "rustls", Severity::WARN));
        let (off, _) = Filter::new(None, "OFF");
        assert!(!enabled(&off, "cachepulse", Severity::ERROR));
    }

    #[test]
    fn a_directive_for_a_module_leaves_the_level_of_the_others() {
        let (filter, rejected) = Filter::new(None, "hyper=debug, cachepulse::identity=WARN,");
        assert!(rejected.is_empty(), "{rejected:?}");
        assert!(enabled(&filter, "hyper::client", Severity::DEBUG));
        assert!(enabled(&filter, "cachepulse::prober", Severity::INFO));
        assert!(!enabled(&filter, "cachepulse::identity::refresh", Severity::INFO));
    }

    #[test]
    fn a_flag_takes_precedence_over_the_variable_and_both_over_the_file() {
        let level = |flag, variable| Filter::new(flag, variable).0.targets(Level::Error);
        let debug = |targets: &Targets| targets.would_enable("cachepulse", &Severity::DEBUG);
        let info = |targets: &Targets| targets.would_enable("cachepulse", &Severity::INFO);
        let flag = level(Some(Level::Info), "debug,cachepulse=trace");
        assert!(info(&flag) && !debug(&flag));
        assert!(debug(&level(None, "debug")));
        assert!(debug(&level(None, "cachepulse=debug")));
        assert!(!info(&level(None, "")));
    }

    #[test]
    fn a_directive_that_makes_no_sense_is_returned_and_the_others_apply() {
        let variable = "inof,hyper=loud,=debug,hyper,[span]=info,a=b=info,/pattern/,cachepulse=debug";
        let (filter, rejected) = Filter::new(None, variable);
        assert_eq!(
            rejected,
            ["inof", "hyper=loud", "=debug", "hyper", "[span]=info", "a=b=info", "/pattern/"]
        );
        assert!(enabled(&filter, "cachepulse", Severity::DEBUG));
    }
}
