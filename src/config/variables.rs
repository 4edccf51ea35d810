//! Problems of environment variables: unknown ones with the prefix of cachepulse, which are probably typing errors, and
//! those of Azure that the configuration relies on.

use std::ffi::OsString;
use std::sync::Arc;

use super::field::{closest, one_of};
use super::keys::{self, VARIABLE_PREFIX};
use super::problem::{Finding, Problems};
use crate::identity::detect::{self, Restriction};
use crate::identity::variables::Variables;
use crate::identity::{EntraSource, Identity};
use crate::secret::SecretSource;
use crate::target::Target;

/// The variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "CACHEPULSE_CONFIG";

/// The variable that says what to do if the configuration is invalid at the start.
pub const ON_INVALID_CONFIG_VARIABLE: &str = "CACHEPULSE_ON_INVALID_CONFIG";

/// Returns a warning for each of `variables` with the prefix that neither the agent nor `targets` use. Ignores those that
/// Kubernetes sets for a Service with the same prefix.
pub fn warnings(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    targets: &[Arc<Target>],
) -> Vec<Finding> {
    let flags = keys::all().filter_map(|key| key.about().flag);
    let mut known: Vec<String> = flags.map(|flag| flag.variable()).collect();
    known.extend([CONFIG_VARIABLE, ON_INVALID_CONFIG_VARIABLE].map(str::to_owned));
    let is_known = |name: &str| {
        known.iter().any(|known| known == name)
            || targets.iter().flat_map(|target| secret_variables(target)).any(|secret| secret == name)
    };
    let variables = variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let mut unknown: Vec<String> = variables
        .filter(|(name, value)| {
            name.starts_with(VARIABLE_PREFIX)
                && !is_known(name)
                && !is_of_service(name, &value.to_string_lossy())
        })
        .map(|(name, _)| name)
        .collect();
    unknown.sort_unstable();
    let warning = |name: String| Finding {
        file: None,
        position: None,
        message: match meant(&name, &known) {
            names if names.is_empty() => "unknown variable; no flag has that name".to_owned(),
            names => format!("unknown variable; did you mean {}?", one_of(names.into_iter())),
        },
        path: name.escape_debug().to_string(),
    };
    unknown.into_iter().map(warning).collect()
}

/// Checks the variables of Azure that an identity of the type `auto` obeys, if one of `targets` has one. Returns warnings.
///
/// # Errors
/// The problem of the variable that restricts the sources.
pub fn check_azure(variables: &Variables, targets: &[Arc<Target>]) -> Result<Vec<Finding>, Problems> {
    let is_auto = |target: &Arc<Target>| matches!(&*target.identity, Identity::Entra(entra) if matches!(entra.source, EntraSource::Auto { .. }));
    if !targets.iter().any(is_auto) {
        return Ok(Vec::new());
    }
    let finding =
        |path: &str, message| Finding { file: None, position: None, path: path.to_owned(), message };
    if let Err(unknown) = Restriction::named_by(variables) {
        return Err(Problems(vec![finding(detect::VARIABLE, unknown.to_string())]));
    }
    // The SDKs prefer these, too.
    let has_other_proof =
        ["AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH"].iter().any(|name| variables.has(name));
    let is_user = ["AZURE_USERNAME", "AZURE_PASSWORD"].iter().all(|name| variables.has(name));
    let warning = (is_user && !has_other_proof).then(|| {
        let message = "ignored, as is AZURE_PASSWORD: signing in as a user with a password is not supported; use an \
                       application with a secret or a certificate";
        finding("AZURE_USERNAME", message.to_owned())
    });
    Ok(warning.into_iter().collect())
}

/// The maximum number of variables in a suggestion.
const MOST_MEANT: usize = 4;

/// Returns the `known` variables that `name` probably means. A typing error comes first, then variables that begin or end
/// with `name`, then variables that begin or end with its last words.
fn meant<'k>(name: &str, known: &'k [String]) -> Vec<&'k str> {
    if let Some(meant) = closest(name, known.iter().map(String::as_str)) {
        return vec![meant];
    }
    let words = name.strip_prefix(VARIABLE_PREFIX).unwrap_or(name);
    let ends = std::iter::successors(Some(words), |words| Some(words.split_once('_')?.1));
    let known = || known.iter().map(String::as_str);
    ends.filter(|end| end.len() > 1)
        .find_map(|end| {
            let exact = format!("{VARIABLE_PREFIX}{end}");
            let rules: [&dyn Fn(&str) -> bool; 3] =
                [&|known| known == exact, &|known| known.starts_with(&exact), &|known| {
                    known.ends_with(&format!("_{end}"))
                }];
            let mut found = rules.iter().map(|rule| known().filter(|known| rule(known)).collect::<Vec<_>>());
            found.find(|names| (1..=MOST_MEANT).contains(&names.len()))
        })
        .unwrap_or_default()
}

/// Returns the variable of a flag whose value is not text, if there is one.
pub fn not_text(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Option<String> {
    let flags = keys::all().filter_map(|key| key.about().flag);
    let mut known: Vec<String> = flags.map(|flag| flag.variable()).collect();
    known.push(ON_INVALID_CONFIG_VARIABLE.to_owned());
    let mut variables = variables.into_iter().filter(|(_, value)| value.to_str().is_none());
    variables.find_map(|(name, _)| name.into_string().ok().filter(|name| known.contains(name)))
}

/// Returns the variables with the target's secrets: its own, and that of its sentinels.
fn secret_variables(target: &Target) -> impl Iterator<Item = &str> {
    let own = match &*target.identity {
        Identity::AccessKey(source) | Identity::Password(source) => Some(source),
        Identity::Entra(entra) => match &entra.source {
            EntraSource::ClientSecret { secret, .. } => secret.as_ref(),
            _ => None,
        },
        Identity::Token(_) | Identity::None => None,
    };
    let of_sentinels = target.server.sentinels().and_then(|sentinels| sentinels.password.as_ref());
    own.into_iter().chain(of_sentinels).filter_map(|source| match source {
        SecretSource::Env(name) => Some(name.as_str()),
        SecretSource::File(_) => None,
    })
}

/// Whether Kubernetes sets the variable for a Service.
/// Source: Kubernetes documentation, "Service", "Environment variables".
fn is_of_service(name: &str, value: &str) -> bool {
    let has_numbered_port = || {
        name.match_indices("_PORT_").any(|(at, prefix)| {
            let rest = name[at + prefix.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
            ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| rest.starts_with(protocol))
        })
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && value.contains("://"))
        || has_numbered_port()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(variables: &[(&str, &str)], targets: &[Arc<Target>]) -> Vec<String> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        warnings(variables, targets).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_unknown_variable_with_the_prefix_is_a_warning() {
        assert_eq!(
            warned(
                &[
                    ("CACHEPULSE_COLOUR", "red"),
                    ("CACHEPULSE_INTERVALL", "1s"),
                    ("CACHEPULSE_INTERVAL", "1s"),
                    ("CACHEPULSE_CONFIG", "a"),
                    ("PATH", "/bin"),
                ],
                &[]
            ),
            [
                "CACHEPULSE_COLOUR: unknown variable; no flag has that name",
                "CACHEPULSE_INTERVALL: unknown variable; did you mean CACHEPULSE_INTERVAL?",
            ]
        );
    }

    #[test]
    fn a_variable_that_begins_or_ends_as_a_known_one_suggests_it() {
        for (name, meant) in [
            ("PASSWORD", "CACHEPULSE_PASSWORD_FILE or CACHEPULSE_PASSWORD_ENV"),
            ("REDIS_PASSWORD", "CACHEPULSE_PASSWORD_FILE or CACHEPULSE_PASSWORD_ENV"),
            ("ACCESS_KEY", "CACHEPULSE_ACCESS_KEY_FILE or CACHEPULSE_ACCESS_KEY_ENV"),
            ("CLIENT_SECRET", "CACHEPULSE_CLIENT_SECRET_FILE or CACHEPULSE_CLIENT_SECRET_ENV"),
            ("USER", "CACHEPULSE_USERNAME"),
            ("REDIS_HOST", "CACHEPULSE_HOST"),
            ("TIMEOUT", "CACHEPULSE_TOKEN_TIMEOUT, CACHEPULSE_CONNECT_TIMEOUT or CACHEPULSE_COMMAND_TIMEOUT"),
        ] {
            let name = format!("{VARIABLE_PREFIX}{name}");
            let expected = format!("{name}: unknown variable; did you mean {meant}?");
            assert_eq!(warned(&[(&name, "x")], &[]), [expected]);
        }
    }

    #[test]
    fn a_variable_that_kubernetes_sets_for_a_service_is_no_warning() {
        let variables = [
            ("CACHEPULSE_SERVICE_HOST", "10.0.0.1"),
            ("CACHEPULSE_SERVICE_PORT", "9860"),
            ("CACHEPULSE_SERVICE_PORT_HTTP", "9860"),
            ("CACHEPULSE_PORT", "tcp://10.0.0.1:9860"),
            ("CACHEPULSE_PORT_9860_TCP", "tcp://10.0.0.1:9860"),
            ("CACHEPULSE_PORT_9860_TCP_ADDR", "10.0.0.1"),
            ("CACHEPULSE_SHOP_SERVICE_HOST", "10.0.0.1"),
            ("CACHEPULSE_SHOP_PORT", "tcp://10.0.0.1:9860"),
        ];
        assert_eq!(warned(&variables, &[]), Vec::<String>::new());
        assert_eq!(warned(&[("CACHEPULSE_SHOP_PORT", "9860")], &[]).len(), 1);
    }

    #[test]
    fn a_user_and_password_of_azure_are_a_warning_unless_something_else_takes_their_place() {
        let user = [("AZURE_USERNAME", "u"), ("AZURE_PASSWORD", "hunter2")];
        let warned = |variables: Variables, targets: &[Arc<Target>]| {
            let warnings = check_azure(&variables, targets).unwrap();
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let mut auto = Target::plain("a");
        auto.identity = crate::config::identity::default_identity().into();
        let auto = [auto.into()];
        let [warning] = warned(Variables::of(user), &auto).try_into().unwrap();
        assert!(warning.starts_with("AZURE_USERNAME: ignored, as is AZURE_PASSWORD: "), "{warning}");
        assert!(!warning.contains("hunter2"), "{warning}");
        let none = Vec::<String>::new();
        assert_eq!(warned(Variables::of(user), &[Target::plain("a").into()]), none);
        assert_eq!(warned(Variables::of([user[0], ("AZURE_PASSWORD", "")]), &auto), none);
        assert_eq!(warned(Variables::of([user[0], user[1], ("AZURE_CLIENT_SECRET", "s")]), &auto), none);
    }

    #[test]
    fn a_variable_with_a_secret_is_no_warning() {
        let mut target = Target::plain("a");
        target.identity = Identity::Password(SecretSource::Env("CACHEPULSE_PASSWORD".into())).into();
        assert_eq!(warned(&[("CACHEPULSE_PASSWORD", "x")], &[target.into()]), Vec::<String>::new());
    }
}
