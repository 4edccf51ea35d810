//! Web configuration files, in the format of Prometheus and its exporters: what guards the HTTP endpoint.
//!
//! `web/tls.rs` reads the part about TLS. Relative paths in the file start at its folder. `web/unguarded.rs` recognises
//! configurations that seem to name such a file.

mod go_duration;
mod tls;
mod unguarded;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};

use super::document::Value;
use super::field::{Field, Fields, Invalid, one_of, quoted};
use super::keys::Key;
use super::keys::agent::{self, WEB_CONFIG_FILE};
use super::keys::web::{
    BURST, CONTENT_TYPE_OPTIONS, FRAME_OPTIONS, HEADERS, HTTP, HTTP2, INTERVAL, RATE_LIMIT, ROOT, TLS, USERS,
};
use super::problem::{Finding, Language, Problems};
use super::sources::{Read, Sources};
use super::watch::{Load, Watch};
use super::{document_of, read_document};
use crate::files::Files;
use crate::guard::{PasswordHash, RateLimit, Rules, Users};

pub use self::unguarded::Unguarded;

/// The highest cost of a hash. A check takes some 4 s then, in which no other password is checked.
const HIGHEST_COST: u32 = 16;

/// Above this cost a check takes longer than a second.
const USUAL_COST: u32 = 14;

/// A web configuration file.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub rules: Arc<Rules>,
    /// What is valid, but probably a mistake.
    pub warnings: Vec<Finding>,
    /// The files that were read.
    read: Read,
}

/// What a file says changes at run time, which its name does not.
impl PartialEq for WebConfig {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl WebConfig {
    /// Reads the file at `path`, and all files that it names, from `sources`.
    ///
    /// # Errors
    /// Every problem; only one if the file cannot be read or is not YAML.
    pub fn load(path: &Path, sources: &Sources) -> Result<Self, Problems> {
        let file = path.to_string_lossy();
        let problem = |message| {
            let file = Some(Arc::from(&*file));
            Problems(vec![Finding { file, position: None, path: String::new(), message }])
        };
        let content = sources.read(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
        let yaml = str::from_utf8(&content).map_err(|_| problem("is not UTF-8 text".to_owned()))?;
        let document = document_of(&file, yaml)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (rules, warnings) =
            read_document(&file, yaml, &document, Language::Web, sources, |root| read(root, folder))?;
        Ok(Self { path: path.to_owned(), rules: Arc::new(rules), warnings, read: sources.summary() })
    }

    /// Returns what identifies the contents of the file and of all files that it names.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.read.digest
    }

    /// Watches the file and all files that it names, since they were read.
    #[must_use]
    pub fn watch(&self, files: &Files) -> Watch<Self> {
        let path = self.path.clone();
        let load: Load<Self> = Arc::new(move |sources| Ok(Self::load(&path, sources)?));
        Watch::since(Some(self.path.clone()), load, files, &self.read)
    }
}

/// Reads the file that a configuration with these top-level `fields` names, if it names one and its sources read it.
pub(super) fn read_of(fields: &Fields<'_>) -> Result<Option<WebConfig>, Invalid> {
    let http = fields.get(&agent::HTTP).filter(|http| matches!(http.value(), Value::Map(_)));
    let http = http.map(|http| http.any_fields("a mapping")).transpose()?;
    http.and_then(|http| http.get(&WEB_CONFIG_FILE)).map_or(Ok(None), |field| read_named(&field))
}

fn read_named(field: &Field<'_>) -> Result<Option<WebConfig>, Invalid> {
    let path = Path::new(field.text(&WEB_CONFIG_FILE)?);
    if !field.sources().reads_web_config(path) {
        return Ok(None);
    }
    match WebConfig::load(path, &field.sources().of_web_config(path)) {
        Ok(config) => {
            config.warnings.iter().for_each(|warning| field.warning(warning.to_string()));
            Ok(Some(config))
        }
        Err(problems) => {
            let noted: Vec<Invalid> =
                problems.iter().map(|problem| field.problem(problem.to_string())).collect();
            Err(*noted.last().expect("there is at least one problem"))
        }
    }
}

fn read(root: &Field<'_>, folder: &Path) -> Result<Rules, Invalid> {
    if matches!(root.value(), Value::Null) {
        return Ok(Rules::default());
    }
    let fields = root.fields_of(ROOT, "a mapping such as {tls_server_config: …, basic_auth_users: …}")?;
    // Everything is read before the first `?`, so that all problems are reported together.
    let http = given(&fields, &HTTP).map(|field| field.fields(&HTTP.about)).transpose();
    let http2 = http.as_ref().ok().and_then(Option::as_ref).and_then(|http| given(http, &HTTP2));
    let http2 = http2.map_or(Ok(HTTP2.default()), |field| boolean(&field));
    let headers = http.map(|http| http.and_then(|http| given(&http, &HEADERS)));
    let headers = headers.and_then(|headers| headers.map_or(Ok(Vec::new()), |field| read_headers(&field)));
    let is_http2 = http2.unwrap_or(false);
    let tls = given(&fields, &TLS).map_or(Ok(None), |field| tls::read(&field, folder, is_http2));
    let users = given(&fields, &USERS).map_or(Ok(None), |field| read_users(&field));
    let rate = given(&fields, &RATE_LIMIT).map_or(Ok(None), |field| read_rate(&field));
    http2?;
    Ok(Rules { tls: tls?, users: users?, rate: rate?, headers: headers? })
}

/// Returns the value of `key`, unless nothing follows it: then it counts as absent. Empty text does not: a template without
/// its value must not remove what guards the endpoint.
fn given<'a, T>(fields: &Fields<'a>, key: &Key<T>) -> Option<Field<'a>> {
    fields.get(key).filter(|field| !matches!(field.value(), Value::Null))
}

/// Reads a boolean of YAML 1.1, which the parsers of Prometheus know.
fn boolean(field: &Field<'_>) -> Result<bool, Invalid> {
    match field.value() {
        Value::Bool(value) => Ok(*value),
        Value::Text(text) => match text.to_ascii_lowercase().as_str() {
            "y" | "yes" | "on" => Ok(true),
            "n" | "no" | "off" => Ok(false),
            _ => Err(field.expected("true or false")),
        },
        _ => Err(field.expected("true or false")),
    }
}

fn read_headers(field: &Field<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, Invalid> {
    let headers = field.fields(&HEADERS.about)?;
    let headers: Vec<_> = headers.each().map(|(name, field)| read_header(name, &field)).collect();
    headers.into_iter().collect()
}

fn read_header(name: &str, field: &Field<'_>) -> Result<(HeaderName, HeaderValue), Invalid> {
    let text = match field.value() {
        Value::Text(text) | Value::Number(text) => text.as_str(),
        Value::Null => "",
        _ => return Err(field.expected("text")),
    };
    let allowed: &[&str] = match name {
        name if name == FRAME_OPTIONS.about.name() => &["deny", "sameorigin"],
        name if name == CONTENT_TYPE_OPTIONS.about.name() => &["nosniff"],
        _ => &[],
    };
    if !allowed.is_empty() && !allowed.contains(&text) {
        return Err(field.expected(one_of(allowed.iter().copied())));
    }
    match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(text)) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err(field.problem("cannot be sent in a header")),
    }
}

fn read_users(field: &Field<'_>) -> Result<Option<Users>, Invalid> {
    // No value is repeated in messages: it may be a password.
    let Value::Map(_) = field.value() else {
        return Err(field.problem("expected a mapping of user names to hashes of their passwords"));
    };
    let mut hashes = HashMap::new();
    let mut result = Ok(());
    for (name, field) in field.any_fields("a mapping")?.each() {
        let hash = match field.value() {
            Value::Text(text) => PasswordHash::parse(text),
            _ => None,
        };
        let Some(hash) = hash else {
            result = Err(field.problem(
                "expected the bcrypt hash of a password, such as `cachepulse hash-password` prints it",
            ));
            continue;
        };
        let cost = hash.cost();
        if cost > HIGHEST_COST {
            result = Err(field.problem(format!(
                "the cost of the hash is {cost}; the highest is {HIGHEST_COST}, because passwords are checked one at a time"
            )));
        } else if cost > USUAL_COST {
            field.warning(format!(
                "the cost of the hash is {cost}: each check takes seconds, and others wait; 10 to 12 is usual"
            ));
        }
        match hashes.entry(name.into()) {
            Entry::Occupied(_) => result = Err(field.problem(format!("duplicate user {}", quoted(name)))),
            Entry::Vacant(free) => {
                free.insert(hash);
            }
        }
    }
    result?;
    Ok((!hashes.is_empty()).then(|| Users::new(hashes)))
}

fn read_rate(field: &Field<'_>) -> Result<Option<RateLimit>, Invalid> {
    let fields = field.fields(&RATE_LIMIT.about)?;
    let burst = given(&fields, &BURST).map_or(Ok(BURST.default()), |field| field.read(&BURST));
    let interval = given(&fields, &INTERVAL).map(|field| {
        let interval = match field.value() {
            // Go's parser of YAML takes a number for nanoseconds.
            Value::Number(number) => go_duration::parse(&format!("{number}ns")),
            Value::Text(text) => go_duration::parse(text),
            _ => None,
        };
        interval.ok_or_else(|| field.expected(INTERVAL.words()))
    });
    let (burst, interval) = (burst?, interval.transpose()?.unwrap_or_default());
    if burst == 0 && !interval.is_zero() {
        field.warning("denies every request, because burst is 0".to_owned());
    }
    Ok((!interval.is_zero()).then(|| RateLimit::new(interval, burst)))
}
