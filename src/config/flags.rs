//! The flags that describe one target and the agent around it, for use without a configuration file.
//!
//! Built from the descriptors in [`super::keys`]. The values are kept as text: the readers of the configuration parse
//! them, so that a flag and its key in YAML accept the same values.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueHint};

use super::keys::identity::{IDENTITY, TYPE};
use super::keys::{self, About, Absent, Descriptor, Flag, Kind, sentinel};

/// The flags that were given a value, on the command line or by an environment variable. An empty value counts as
/// absent.
#[derive(Clone, Debug, Default)]
pub struct Flags(Vec<Given>);

/// A value that was given for a flag.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) key: &'static dyn Descriptor,
    pub(super) flag: Flag,
    pub(super) origin: Origin,
    pub(super) value: String,
}

/// How a flag was given a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    CommandLine,
    /// By its environment variable.
    Variable,
}

impl Given {
    /// Returns the flag or variable that was given: `--interval` or `CACHEPULSE_INTERVAL`.
    pub(super) fn name(&self) -> String {
        self.origin.name(self.flag)
    }
}

impl Origin {
    /// Returns `flag` as the operator writes it.
    pub(super) fn name(self, flag: Flag) -> String {
        match self {
            Self::CommandLine => flag.to_string(),
            Self::Variable => flag.variable(),
        }
    }

    /// Returns what separates the name from the value.
    pub(super) const fn before_value(self) -> &'static str {
        match self {
            Self::CommandLine => " ",
            Self::Variable => "=",
        }
    }
}

impl Flags {
    /// Sets the flag of `key`. Has no effect for a key without a flag, and for an empty value.
    #[must_use]
    pub fn with(mut self, key: &'static dyn Descriptor, origin: Origin, value: &str) -> Self {
        if let Some(flag) = key.about().flag
            && !value.is_empty()
            // Kubernetes sets this variable in every pod of a namespace with a Service called `cachepulse`.
            && !(flag.name == "port" && value.starts_with("tcp://"))
        {
            self.0.push(Given { key, flag, origin, value: value.to_owned() });
        }
        self
    }

    /// Returns those of `matches`, for these keys.
    pub(crate) fn of(matches: &ArgMatches, keys: impl IntoIterator<Item = &'static dyn Descriptor>) -> Self {
        keys.into_iter().fold(Self::default(), |flags, key| {
            let Some(flag) = key.about().flag else { return flags };
            let origin = match matches.value_source(flag.name) {
                Some(ValueSource::EnvVariable) => Origin::Variable,
                _ => Origin::CommandLine,
            };
            let value = matches.get_one::<String>(flag.name).map_or("", String::as_str);
            flags.with(key, origin, value)
        })
    }

    /// Adds what was given in `others`.
    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Returns what was given for `keys` alone.
    #[must_use]
    pub(super) fn only(&self, keys: &[&dyn Descriptor]) -> Self {
        let is_of = |given: &&Given| keys.iter().any(|key| given.key.about().path == key.about().path);
        Self(self.0.iter().filter(is_of).cloned().collect())
    }

    /// Returns the given flags and variables that are not allowed with a configuration file.
    #[must_use]
    pub fn refused_beside_file(&self) -> Vec<String> {
        self.0.iter().filter(|given| !given.flag.is_allowed_beside_file).map(Given::name).collect()
    }

    /// Returns the value for `key`, if one was given.
    #[must_use]
    pub fn value(&self, key: &dyn Descriptor) -> Option<&str> {
        let given = self.0.iter().find(|given| given.key.about().path == key.about().path)?;
        Some(&given.value)
    }

    pub(super) fn given(&self) -> &[Given] {
        &self.0
    }

    /// Returns the first flag that was given for the key at `path` or for a key below it.
    pub(super) fn at_or_below(&self, path: &str) -> Option<&Given> {
        self.0.iter().find(|given| is_at_or_below(given.key.about().path, path))
    }

    /// Returns the origin for the key that `about` describes: that of its own value, or else that of the nearest value
    /// around `path`.
    pub(super) fn origin(&self, about: &About, path: &str) -> Origin {
        let around = std::iter::successors(Some(path), |path| Some(path.rsplit_once('.')?.0));
        let given = [about.path].into_iter().chain(around).find_map(|path| self.at_or_below(path));
        given.map_or(Origin::CommandLine, |given| given.origin)
    }
}

/// Whether the key at `key_path` is at `path`, or below it.
pub(super) fn is_at_or_below(key_path: &str, path: &str) -> bool {
    let path = path.replacen("[0]", "[]", 1);
    key_path.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Returns `advice` with the keys in backticks, such as `tls.ca_file` or `tls: false`, written as flags.
#[must_use]
pub fn with_flags(advice: &str) -> String {
    let mut pieces = advice.split('`');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for (index, piece) in pieces.enumerate() {
        text.push('`');
        // Every second piece stands between two backticks.
        let is_code = index % 2 == 0;
        let (name, value) = piece.split_once(": ").map_or((piece, None), |(name, value)| (name, Some(value)));
        match flag_of_key(name).filter(|_| is_code) {
            Some(flag) => text += &value.map_or_else(|| flag.to_string(), |value| format!("{flag} {value}")),
            None => text += piece,
        }
    }
    text
}

/// Returns the flag of the key of a target at `path`. That of `identity` is its type.
fn flag_of_key(path: &str) -> Option<Flag> {
    let is_named = |about: &About| about.path.strip_prefix("targets[].") == Some(path);
    if is_named(&IDENTITY.about) {
        TYPE.about.flag
    } else if is_named(&sentinel::IDENTITY.about) {
        sentinel::TYPE.about.flag
    } else {
        keys::all().find(|key| is_named(key.about()))?.about().flag
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(keys::all().filter_map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self::of(matches, keys::all()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Returns the argument for the flag of `key`. `-h` shows its help and default, `--help` its whole documentation.
fn argument(key: &'static dyn Descriptor) -> Option<Arg> {
    let about = key.about();
    let flag = about.flag?;
    let short = match key.default_text() {
        Absent::Default(value) => format!("{} [default: {value}]", about.help),
        _ => about.help.to_owned(),
    };
    let argument = Arg::new(flag.name)
        .long(flag.name)
        .visible_aliases(flag.alias)
        .env(flag.variable())
        // The long help names the variable.
        .hide_env(true)
        .value_name(flag.value)
        .value_hint(hint(key.kind()))
        .help_heading(about.group.title())
        .help(short)
        .long_help(long_help(key, flag))
        .hide_short_help(!flag.is_common);
    Some(argument)
}

fn long_help(key: &dyn Descriptor, flag: Flag) -> String {
    let About { help, doc, .. } = key.about();
    let beside = key.kind().beside_range().map(|value| format!("{value} or ")).unwrap_or_default();
    let range = key.range().map(|(least, most)| format!(", {beside}{least} to {most}")).unwrap_or_default();
    let mut paragraphs = vec![wrapped(&format!("{help}{range}"))];
    if !doc.is_empty() {
        paragraphs.push(wrapped(doc));
    }
    let choices: Vec<String> = key.choices().iter().map(|(name, help)| format!("- {name}: {help}")).collect();
    if !choices.is_empty() {
        paragraphs.push(choices.join("\n"));
    }
    let default = match key.default_text() {
        Absent::Default(value) => format!("[default: {value}]\n"),
        Absent::Described(words) => format!("[default: {words}]\n"),
        Absent::Required | Absent::Nothing => String::new(),
    };
    paragraphs.push(format!("{default}[env: {}]", flag.variable()));
    paragraphs.join("\n\n")
}

/// Wraps `text` for a terminal of 100 columns with clap's indentation.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 88;
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            lines.push('\n');
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines
}

/// Returns the hint for the completion of a value.
const fn hint(kind: Kind) -> ValueHint {
    match kind {
        Kind::Path => ValueHint::FilePath,
        Kind::Host | Kind::Hosts => ValueHint::Hostname,
        Kind::Url => ValueHint::Url,
        _ => ValueHint::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Flags {
        let command = Flags::augment_args(Command::new("cachepulse"));
        let arguments = ["cachepulse"].iter().chain(arguments);
        Flags::from_arg_matches(&command.get_matches_from(arguments)).unwrap()
    }

    #[test]
    fn advice_names_flags_instead_of_keys() {
        for (advice, expected) in [
            ("Set `tls: false` only if", "Set `--tls false` only if"),
            ("check `host`, `port` and `tls`.", "check `--host`, `--port` and `--tls`."),
            ("set `identity: none`, or `tls.ca_file`", "set `--identity none`, or `--ca-file`"),
            ("`+ping ~cachepulse:*` and `SCRIPT KILL` stay", "`+ping ~cachepulse:*` and `SCRIPT KILL` stay"),
            ("the key host: none", "the key host: none"),
        ] {
            assert_eq!(with_flags(advice), expected);
        }
    }

    #[test]
    fn every_key_with_a_flag_is_an_argument_that_sets_it() {
        for key in keys::all() {
            let Some(flag) = key.about().flag else { continue };
            let flags = parse(&[&flag.to_string(), "x"]);
            assert_eq!(flags.value(key), Some("x"), "{flag}");
            assert_eq!(flags.0.len(), 1, "{flag}");
        }
    }

    #[test]
    fn long_help_has_the_whole_documentation_of_the_descriptor() {
        let help_of = |key: &dyn Descriptor| long_help(key, key.about().flag.unwrap());
        let help = help_of(&keys::probe::CLIENT_LIST_MODE);
        assert!(help.starts_with("Whether CLIENT LIST is a step of the probe\n\n- required: "), "{help}");
        assert!(help.ends_with("\n\n[default: optional]\n[env: CACHEPULSE_CLIENT_LIST]"), "{help}");
        let help = help_of(&keys::connection::PORT);
        assert!(help.starts_with("TCP port, 1 to 65535\n\nWith `sentinel` it is not used"), "{help}");
        assert!(help.contains("\n\n[default: 10000 for "), "{help}");
        let help = help_of(&keys::probe::CLIENT_LIST_EVERY);
        assert!(help.starts_with("Run CLIENT LIST in every n-th probe, auto or 1 to 1000000\n"), "{help}");
        let help = help_of(&keys::probe::NEW_CONNECTION_EVERY);
        assert!(
            help.starts_with("Time from one probe of a new connection to the next, 0s or 10s to 1h\n"),
            "{help}"
        );
    }

    #[test]
    fn an_empty_value_counts_as_absent() {
        assert!(parse(&["--host", ""]).0.is_empty());
    }

    #[test]
    fn the_variable_for_the_port_that_kubernetes_sets_counts_as_absent() {
        let port = &keys::connection::PORT;
        assert!(Flags::default().with(port, Origin::Variable, "tcp://10.0.0.1:9860").0.is_empty());
    }

    #[test]
    fn a_value_has_the_name_of_the_flag_or_variable_that_set_it() {
        let host = &keys::connection::HOST;
        let flags = Flags::default().with(host, Origin::Variable, "a");
        assert_eq!(flags.refused_beside_file(), ["CACHEPULSE_HOST"]);
        assert_eq!(parse(&["--host", "a", "--listen", ":9860"]).refused_beside_file(), ["--host"]);
    }
}
