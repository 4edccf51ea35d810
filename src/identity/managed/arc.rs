//! Azure Arc: machines outside of Azure. Its agent proves that a process may have a token by a file that only some users
//! can read.
//!
//! The first request is refused and names a key file; the second carries its content. A key serves once.
//!
//! Source: Microsoft Learn, "Authenticate against Azure resources with Azure Arc-enabled servers"; the rules for the key
//! file are those of Azure's SDKs.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use hyper::{Request, Response};

use super::super::FetchError;
use super::super::platform::Platform;
use super::super::refusal::{explanation, fetch_error};
use super::advice::advice;
use super::endpoint::{Call, url, with_query};
use super::{Wanted, imds, secrets, send};
use crate::files;
use crate::secret::Secret;

/// The folder in which Azure Arc's agent writes keys. A key elsewhere is refused: an endpoint that is not the agent's
/// could have any file sent to it.
pub(super) const KEYS: &str = "/var/opt/azcmagent/tokens";

/// The largest key, in bytes.
const KEY_LIMIT: usize = 4096;

/// Where the agent listens, and where it does if the variable is not set.
const VARIABLE: &str = "IDENTITY_ENDPOINT";
const ENDPOINT: &str = "http://localhost:40342/metadata/identity/oauth2/token";

const UNREADABLE: &str = "Add the user that the agent runs as to the group `himds`, for example with \
                          `usermod --append --groups himds USER`, and restart the agent.";

/// Returns the second request, after the first one was answered with the name of a key in `folder`.
pub(super) async fn call(
    wanted: &Wanted<'_>,
    platform: &Platform,
    folder: &Path,
) -> Result<Call, FetchError> {
    let endpoint = match platform.variables.get(VARIABLE) {
        Some(endpoint) => url(VARIABLE, endpoint)?,
        None => ENDPOINT.to_owned(),
    };
    let fixed = [("api-version", "2020-06-01"), ("resource", wanted.resource())];
    let uri = with_query(&endpoint, fixed.into_iter().chain(wanted.parameter(&imds::NAMES)));
    let request = || Request::get(&uri).header("metadata", "true");
    let challenge = send(&Call::new(request(), "", Vec::new())?, platform).await?;
    let status = challenge.status().as_u16();
    if status != 401 {
        let explanation = explanation(&challenge);
        let text = format!("HTTP {status} instead of the 401 with a key file of Azure Arc: {explanation}");
        let advice = advice(wanted, &platform.variables, status, &explanation);
        return Err(FetchError { advice, ..fetch_error(&text, &[]) });
    }
    let path = key_path(&challenge, folder).map_err(|text| fetch_error(&text, &[]))?;
    let key = read(&path, folder, platform).await?;
    let authorization = format!("Basic {}", key.expose());
    Ok(Call::new(request().header(AUTHORIZATION, authorization), "", secrets(&key))?)
}

/// Returns the path of the key that `challenge` names.
fn key_path(challenge: &Response<Bytes>, folder: &Path) -> Result<PathBuf, String> {
    let header = challenge.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    let realm = header.and_then(|header| {
        let (scheme, rest) = header.trim().split_once(' ')?;
        // The names of keys have no commas.
        let mut parameters = rest.split(',').filter_map(|parameter| parameter.split_once('='));
        let (_, path) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("realm"))?;
        scheme.eq_ignore_ascii_case("basic").then(|| path.trim().trim_matches('"'))
    });
    let Some(realm) = realm.filter(|realm| !realm.is_empty()) else {
        return Err("the answer of Azure Arc names no key file (WWW-Authenticate: Basic realm=…)".to_owned());
    };
    let path = Path::new(realm);
    let is_key = path.extension().is_some_and(|extension| extension == "key");
    // Compared as text: `..` must not lead out of the folder.
    if path.parent() == Some(folder) && is_key {
        Ok(path.to_owned())
    } else {
        let folder = folder.display();
        Err(format!("Azure Arc names the key file {realm}, which is not a .key file in {folder}"))
    }
}

/// Reads the key at `path` in `folder`.
async fn read(path: &Path, folder: &Path, platform: &Platform) -> Result<Secret, FetchError> {
    let failed = |what: String| fetch_error(&format!("the key file {} {what}", path.display()), &[]);
    let unreadable = |error: files::ReadError| FetchError {
        is_local: error.is_local(),
        advice: is_denied(&error).then_some(UNREADABLE),
        ..failed(format!("of Azure Arc cannot be read: {error}"))
    };
    // The folder itself may be a symbolic link.
    let target = platform.files.resolve(path).await.map_err(unreadable)?;
    let folder = platform.files.resolve(folder).await.map_err(unreadable)?;
    if target.parent() != Some(&*folder) {
        return Err(failed("of Azure Arc is a symbolic link out of its folder".to_owned()));
    }
    let content = platform.files.read(&target).await.content.map_err(unreadable)?;
    if content.len() > KEY_LIMIT {
        return Err(failed(format!("of Azure Arc is longer than {KEY_LIMIT} bytes")));
    }
    // SDKs fail on a trailing line break.
    match std::str::from_utf8(&content).map(str::trim) {
        Ok("") => Err(failed("of Azure Arc is empty".to_owned())),
        Ok(key) => Ok(Secret::new(key.to_owned())),
        Err(_) => Err(failed("of Azure Arc is not UTF-8 text".to_owned())),
    }
}

fn is_denied(error: &files::ReadError) -> bool {
    matches!(error, files::ReadError::System(error) if error.kind() == std::io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::clock::Clock;
    use crate::files::Files;
    use crate::identity::testing::no_transport;
    use crate::identity::variables::Variables;

    #[tokio::test]
    async fn a_key_that_is_a_symbolic_link_out_of_the_folder_is_refused() {
        let platform = Platform {
            transport: no_transport(),
            files: Files::system(),
            variables: Variables::of([]),
            clock: Clock::system(),
        };
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret.key");
        std::fs::write(&secret, "another secret").unwrap();
        let folder = outside.path().join("tokens");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a.key"), "the key").unwrap();
        symlink(&secret, folder.join("out.key")).unwrap();
        symlink("a.key", folder.join("in.key")).unwrap();
        let linked = outside.path().join("linked");
        symlink(&folder, &linked).unwrap();
        let error = read(&folder.join("out.key"), &folder, &platform).await.unwrap_err();
        assert!(error.text.ends_with("out.key of Azure Arc is a symbolic link out of its folder"), "{error}");
        for (name, folder) in [("a.key", &folder), ("in.key", &folder), ("a.key", &linked)] {
            let key = read(&folder.join(name), folder, &platform).await.unwrap();
            assert_eq!(key.expose(), "the key");
        }
    }

    fn named(header: Option<&str>) -> Result<PathBuf, String> {
        let response = Response::builder().status(401);
        let response =
            header.map_or(Response::builder().status(401), |it| response.header(WWW_AUTHENTICATE, it));
        key_path(&response.body(Bytes::new()).unwrap(), Path::new(KEYS))
    }

    #[test]
    fn the_challenge_names_a_key_in_the_folder() {
        for header in [
            "Basic realm=/var/opt/azcmagent/tokens/a-1.key",
            "basic Realm = \"/var/opt/azcmagent/tokens/a-1.key\"",
            "Basic realm=/var/opt/azcmagent/tokens/a-1.key, charset=utf-8",
            "Basic charset=\"utf-8\", realm=\"/var/opt/azcmagent/tokens/a-1.key\"",
        ] {
            assert_eq!(named(Some(header)), Ok("/var/opt/azcmagent/tokens/a-1.key".into()), "{header}");
        }
    }

    #[test]
    fn a_challenge_without_a_key_is_an_error() {
        for header in [None, Some(""), Some("Basic"), Some("Basic realm="), Some("Bearer realm=/x.key")] {
            let error = named(header).unwrap_err();
            assert!(error.contains("names no key file"), "{header:?}: {error}");
        }
    }

    #[test]
    fn a_key_elsewhere_or_of_another_kind_is_refused() {
        for path in [
            "/etc/shadow",
            "/var/opt/azcmagent/tokens",
            "/var/opt/azcmagent/tokens/a.txt",
            "/var/opt/azcmagent/tokens/.key",
            "/var/opt/azcmagent/tokens/below/a.key",
            "/var/opt/azcmagent/tokens/../a.key",
            "/var/opt/azcmagent/tokens/../tokens/a.key",
            "var/opt/azcmagent/tokens/a.key",
            "a.key",
        ] {
            let error = named(Some(&format!("Basic realm={path}"))).unwrap_err();
            assert!(error.contains("is not a .key file in /var/opt/azcmagent/tokens"), "{path}: {error}");
        }
    }
}
