//! The commands of the store, for `COMMAND` and for the check of the number of arguments.

use crate::frame::Command;
use crate::reply::Reply;

/// A command as `COMMAND` describes it. Source: redis.io, "COMMAND".
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// The number of words; a negative number is a minimum.
    pub(super) arity: i64,
    /// The positions of the first and the last key, and the step between keys.
    keys: [i64; 3],
}

const NO_KEYS: [i64; 3] = [0, 0, 0];
const ONE_KEY: [i64; 3] = [1, 1, 1];
const ALL_KEYS: [i64; 3] = [1, -1, 1];

#[rustfmt::skip]
pub(super) const COMMANDS: [Spec; 29] = [
    Spec { name: "asking", arity: 1, keys: NO_KEYS },
    Spec { name: "auth", arity: -2, keys: NO_KEYS },
    Spec { name: "client", arity: -2, keys: NO_KEYS },
    Spec { name: "cluster", arity: -2, keys: NO_KEYS },
    Spec { name: "command", arity: -1, keys: NO_KEYS },
    Spec { name: "dbsize", arity: 1, keys: NO_KEYS },
    Spec { name: "decr", arity: 2, keys: ONE_KEY },
    Spec { name: "del", arity: -2, keys: ALL_KEYS },
    Spec { name: "discard", arity: 1, keys: NO_KEYS },
    Spec { name: "echo", arity: 2, keys: NO_KEYS },
    Spec { name: "exec", arity: 1, keys: NO_KEYS },
    Spec { name: "exists", arity: -2, keys: ALL_KEYS },
    Spec { name: "expire", arity: -3, keys: ONE_KEY },
    Spec { name: "get", arity: 2, keys: ONE_KEY },
    Spec { name: "hello", arity: -1, keys: NO_KEYS },
    Spec { name: "incr", arity: 2, keys: ONE_KEY },
    Spec { name: "incrby", arity: 3, keys: ONE_KEY },
    Spec { name: "info", arity: -1, keys: NO_KEYS },
    Spec { name: "multi", arity: 1, keys: NO_KEYS },
    Spec { name: "ping", arity: -1, keys: NO_KEYS },
    Spec { name: "pttl", arity: 2, keys: ONE_KEY },
    Spec { name: "quit", arity: -1, keys: NO_KEYS },
    Spec { name: "readonly", arity: 1, keys: NO_KEYS },
    Spec { name: "readwrite", arity: 1, keys: NO_KEYS },
    Spec { name: "select", arity: 2, keys: NO_KEYS },
    Spec { name: "set", arity: -3, keys: ONE_KEY },
    Spec { name: "ttl", arity: 2, keys: ONE_KEY },
    Spec { name: "type", arity: 2, keys: ONE_KEY },
    Spec { name: "unlink", arity: -2, keys: ALL_KEYS },
];

fn find(name: &str) -> Option<&'static Spec> {
    COMMANDS.iter().find(|spec| name.eq_ignore_ascii_case(spec.name))
}

/// Checks that the command exists and has the right number of arguments. The error is a reply in Redis' words.
pub(super) fn validate(command: &Command) -> Result<(), Reply> {
    let spec = find(&command.name()).ok_or_else(|| Reply::unknown_command(command))?;
    let words = command.args().len() + 1;
    let minimum = usize::try_from(spec.arity.unsigned_abs()).unwrap_or(usize::MAX);
    let fits = if spec.arity < 0 { words >= minimum } else { words == minimum };
    if fits { Ok(()) } else { Err(Reply::wrong_arity(spec.name)) }
}

/// Returns the keys of a valid command.
pub(super) fn keys_of(command: &Command) -> &[Vec<u8>] {
    match (find(&command.name()).map(|spec| spec.keys), command.args()) {
        (Some(ONE_KEY), [key, ..]) => std::slice::from_ref(key),
        (Some(ALL_KEYS), keys) => keys,
        _ => &[],
    }
}

/// Whether the command reads and does not write.
pub(super) fn is_read(command: &Command) -> bool {
    ["GET", "EXISTS", "TYPE", "TTL", "PTTL"].contains(&command.name().as_str())
}

/// Executes `COMMAND`.
pub(super) fn describe(command: &Command) -> Reply {
    match (command.text(1).to_ascii_uppercase().as_str(), command.args()) {
        ("", []) | ("INFO", [_]) => Reply::Array(COMMANDS.iter().map(Spec::describe).collect()),
        ("COUNT", [_]) => super::count(COMMANDS.len()),
        // redis-cli shows the documentation as hints, and works without it.
        ("DOCS", _) => Reply::Map(Vec::new()),
        ("INFO", [_, names @ ..]) => Reply::Array(
            names
                .iter()
                .map(|name| find(&String::from_utf8_lossy(name)).map_or(Reply::Null, Spec::describe))
                .collect(),
        ),
        ("COUNT", _) => Reply::wrong_arity("command|count"),
        _ => Reply::unknown_subcommand(command),
    }
}

impl Spec {
    fn describe(&self) -> Reply {
        let [first, last, step] = self.keys.map(Reply::Integer);
        let none = Reply::Array(Vec::new());
        let mut fields =
            vec![Reply::text(self.name), Reply::Integer(self.arity), none.clone(), first, last, step];
        // Categories, tips, key specifications and subcommands.
        fields.extend(std::iter::repeat_n(none, 4));
        Reply::Array(fields)
    }
}
