//! Refusals: what an identity endpoint sends instead of a token, in words for an operator.

use bytes::Bytes;
use hyper::header::LOCATION;
use hyper::{Response, Uri};
use serde_json::Value;

use super::FetchError;
use super::redaction::without_secrets;
use crate::excerpt::excerpt;
use crate::secret::Secret;

/// The longest text of a [`FetchError`], in characters.
pub(super) const ERROR_LENGTH: usize = 300;

const ISSUER: &str = "Give the identity a federated credential whose issuer is that of this cluster: \
                      `az aks show --query oidcIssuerProfile.issuerUrl` prints it.";
const AUDIENCE: &str = "Give the identity a federated credential whose audience is that of the service account token: \
                        `api://AzureADTokenExchange`, in China `api://AzureADTokenExchangeChina`.";
const SUBJECT: &str = "Give the identity a federated credential whose subject is the service account of this pod: \
                       `system:serviceaccount:NAMESPACE:NAME`.";
const FEDERATION: &str = "Give the identity a federated credential with the issuer of this cluster, the service account \
                          of this pod as its subject, and the audience `api://AzureADTokenExchange`.";

const APPLICATION: &str =
    "Check `client_id` and `tenant_id`: this tenant has no application with that client id.";
const CLOCK: &str = "Check the clock of this machine. A workload identity's service account token may have expired, if its file \
                     is a copy.";
const CERTIFICATE: &str = "Add the certificate to the application: in Entra ID under App registrations, Certificates & \
                           secrets, or with `az ad app credential reset --id CLIENT_ID --append --cert @FILE`. \
                           `openssl x509 -in FILE -noout -fingerprint -sha1` prints its thumbprint. An application that trusts a subject name and an issuer needs \
                           `send_certificate_chain: true`.";

/// Returns what to do about an error of Entra, by its code.
/// Source: Microsoft Learn, "Microsoft Entra authentication and authorization error codes".
pub(super) fn entra_advice(explanation: &str) -> Option<&'static str> {
    match entra_code(explanation)? {
        70_021 => Some(FEDERATION),
        700_211 => Some(ISSUER),
        700_212 => Some(AUDIENCE),
        700_213 => Some(SUBJECT),
        700_016 => Some(APPLICATION),
        700_024 => Some(CLOCK),
        700_027 => Some(CERTIFICATE),
        _ => None,
    }
}

/// Returns the number after `AADSTS` in an error of Entra.
pub(super) fn entra_code(explanation: &str) -> Option<u32> {
    let (_, after) = explanation.split_once("AADSTS")?;
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    after[..end].parse().ok()
}

/// Returns the code in an error of Entra and the first sentence after it.
pub(super) fn entra_sentence(explanation: &str) -> Option<String> {
    entra_code(explanation)?;
    let sentence = &explanation[explanation.find("AADSTS")?..];
    let ends = [". ", ".\n", ".\r", "\n", "\r"].into_iter().filter_map(|end| sentence.find(end));
    Some(sentence[..ends.min().unwrap_or(sentence.len())].trim_end_matches('.').to_owned())
}

/// Returns the explanation in an error response: the host that a redirect points to, or what the body says.
pub(super) fn explanation(response: &Response<Bytes>) -> String {
    let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
    match location.map(|location| location.to_str().ok().and_then(|url| url.parse::<Uri>().ok())) {
        Some(url) => match url.as_ref().and_then(Uri::host) {
            Some(host) => format!("a redirect to {host}; is there a proxy in between?"),
            None => "a redirect to another path; is there a proxy in between?".to_owned(),
        },
        None => said(response.body()),
    }
}

/// Returns what the body of an error response says: Entra and IMDS send `error_description`, App Service and Kubernetes
/// `message`, some only `error`.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let found = ["/error_description", "/message", "/error/message", "/error"]
        .iter()
        .find_map(|path| json.pointer(path)?.as_str());
    match found {
        Some(explanation) => explanation.to_owned(),
        None if text.trim_start().starts_with('<') => {
            "a web page instead of the endpoint's response; is there a proxy in between?".to_owned()
        }
        None if text.trim().is_empty() => "no explanation".to_owned(),
        None => text.into_owned(),
    }
}

/// Returns an error with this text, in one bounded line without `secrets` and anything that looks like one.
pub(super) fn fetch_error(text: &str, secrets: &[Secret]) -> FetchError {
    // The search for known secrets is slow for long texts. Of this excerpt, the place of the cut is not shown.
    let text = excerpt(&without_secrets(text), 4 * ERROR_LENGTH);
    let text = secrets.iter().fold(text, |text, secret| secret.redact(&text));
    FetchError::new(excerpt(&text, ERROR_LENGTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explanation_is_found_in_the_format_of_each_endpoint() {
        for (body, expected) in [
            (
                r#"{"error":"invalid_client","error_description":"AADSTS7000215: \"x\"\r\nTrace"}"#,
                "AADSTS7000215: \"x\"\r\nTrace",
            ),
            (r#"{"error":"invalid_request","error_description":"Identity not found"}"#, "Identity not found"),
            (r#"{"statusCode":400,"message":"No managed identity"}"#, "No managed identity"),
            (r#"{"kind":"Status","message":"forbidden: x","reason":"Forbidden"}"#, "forbidden: x"),
            (r#"{"error":{"code":"x","message":"nested"}}"#, "nested"),
            (r#"{"error":"unknown_source"}"#, "unknown_source"),
            ("upstream connect error", "upstream connect error"),
            (" \n", "no explanation"),
            (
                "\n<!doctype html><title>Blocked</title>",
                "a web page instead of the endpoint's response; is there a proxy in between?",
            ),
        ] {
            assert_eq!(explanation(&Response::new(Bytes::from(body))), expected);
        }
    }

    #[test]
    fn the_host_of_a_redirect_is_named_without_the_rest_of_its_url() {
        let redirected = |location: &str| {
            let response = Response::builder().status(302).header(LOCATION, location);
            explanation(&response.body(Bytes::from_static(b"<html>moved</html>")).unwrap())
        };
        assert_eq!(
            redirected("https://user:hunter2@portal.example.com:8443/login?token=hunter2#hunter2"),
            "a redirect to portal.example.com; is there a proxy in between?"
        );
        for location in ["/login?token=hunter2", "hunter2 hunter2", "https://"] {
            let expected = "a redirect to another path; is there a proxy in between?";
            assert_eq!(redirected(location), expected, "{location}");
        }
        let response = Response::builder().status(400).header(LOCATION, "https://a/");
        assert_eq!(explanation(&response.body(Bytes::from_static(b"no")).unwrap()), "no");
    }

    #[test]
    fn each_error_of_an_application_has_advice_of_its_own() {
        for (explanation, expected) in [
            ("AADSTS70021: No matching federated identity record found.", Some(FEDERATION)),
            ("AADSTS700211: … issuer 'x'", Some(ISSUER)),
            ("x: AADSTS700212: … audience 'x'", Some(AUDIENCE)),
            ("AADSTS700213 subject", Some(SUBJECT)),
            ("AADSTS700016: Application with identifier 'x' was not found", Some(APPLICATION)),
            ("AADSTS700024: Client assertion is not within its valid time range.", Some(CLOCK)),
            (
                "AADSTS700027: The certificate with identifier used to sign … is not registered",
                Some(CERTIFICATE),
            ),
            ("AADSTS7000215: Invalid client secret provided.", None),
            ("AADSTS", None),
            ("no code", None),
        ] {
            assert_eq!(entra_advice(explanation), expected, "{explanation}");
        }
    }

    #[test]
    fn no_part_of_a_secret_is_shown_where_the_text_is_cut() {
        let jwt = format!("eyJ{}.short-end", "x".repeat(200));
        for before in 100..300 {
            let text = format!("{} {jwt} {}", "a ".repeat(before / 2), "b ".repeat(60));
            let error = fetch_error(&text, &[]);
            assert!(!error.text.contains("end") && !error.text.contains("eyJ"), "{error}");
        }
        let secret = Secret::new("own secret of forty words, and no more of it".into());
        for before in 40..700 {
            let text =
                format!("{} {} {}", "a ".repeat(before / 2), secret.expose(), "b ".repeat(600 - before / 2));
            let error = fetch_error(&text, std::slice::from_ref(&secret));
            assert!(!error.text.contains(['o', 'w', 'n', 's', 'f', 'm']), "{before}: {error}");
        }
    }
}
