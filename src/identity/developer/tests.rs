//! The words of `az` and `azd`, and what the agent says instead. The texts are those of az 2.91 and azd 1.23 and 1.24.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::SystemTime;

use super::*;
use crate::identity::DEFAULT_SCOPE;

/// Returns the error for a tool that printed `stderr`.
fn said(tool: &Tool, stderr: &str) -> String {
    ended(tool, ExitStatus::from_raw(1 << 8), stderr)
}

/// Returns the error for a tool that ended with this status.
fn ended(tool: &Tool, status: ExitStatus, stderr: &str) -> String {
    let output = Output { status, stdout: Vec::new(), stderr: stderr.to_owned() };
    let error = refused(tool, &output, DEFAULT_SCOPE, &tool.arguments(DEFAULT_SCOPE));
    assert_eq!(error.advice, Some(ADVICE));
    error.text.into()
}

fn az() -> Tool {
    Tool::Az(AzureAccount::Default)
}

fn az_of_tenant() -> Tool {
    Tool::Az(AzureAccount::Tenant("contoso.com".into()))
}

fn az_of_subscription() -> Tool {
    Tool::Az(AzureAccount::Subscription("Shop (test)".into()))
}

#[test]
fn az_takes_a_tenant_or_a_subscription() {
    let line = |tool: &Tool| command_line(tool.name(), &tool.arguments(DEFAULT_SCOPE));
    let start = "az account get-access-token --output json --scope https://redis.azure.com/.default";
    assert_eq!(line(&az()), start);
    assert_eq!(line(&az_of_tenant()), format!("{start} --tenant contoso.com"));
    assert_eq!(line(&az_of_subscription()), format!("{start} --subscription 'Shop (test)'"));
    let azd = Tool::Azd(Some("contoso.com".into()));
    assert_eq!(
        line(&azd),
        "azd auth token --output json --no-prompt --scope https://redis.azure.com/.default --tenant-id contoso.com"
    );
}

#[test]
fn each_error_of_az_becomes_a_sentence_with_the_command_to_run() {
    for words in [
        "ERROR: Please run 'az login' to setup account.\n",
        "WARNING: An update is available.\nERROR: Please run \"az login\" to access your accounts.\n",
        "ERROR: No subscription found. Run 'az account set' to select a subscription.\n",
    ] {
        assert_eq!(said(&az(), words), "az is not signed in; run `az login`");
        assert_eq!(said(&az_of_tenant(), words), "az is not signed in; run `az login --tenant contoso.com`");
    }

    let mfa = "ERROR: AADSTS50076: Due to a configuration change made by your administrator, or because you moved to a new \
               location, you must use multi-factor authentication to access '123'. Trace ID: 1 Correlation ID: 2\n\
               Interactive authentication is needed. Please run:\naz logout\naz login --tenant \"contoso.com\"\n";
    let text = said(&az_of_tenant(), mfa);
    assert!(text.starts_with("az: AADSTS50076: Due to a configuration change made by your adm"), "{text}");
    assert!(!text.contains("Trace ID"), "{text}");
    let command = "; run `az login --tenant contoso.com --scope https://redis.azure.com/.default`";
    assert!(text.ends_with(command), "{text}");

    // Without a configured tenant, that of az's own command stays: the default one may be another.
    for account in [AzureAccount::Default, AzureAccount::Subscription("dev".into())] {
        let text = said(&Tool::Az(account), mfa);
        assert!(text.ends_with(command), "{text}");
    }
    let strange = mfa.replace("contoso.com", "$(id)");
    let text = said(&az(), &strange);
    assert!(text.ends_with("; run `az login --scope https://redis.azure.com/.default`"), "{text}");
    let claims = "ERROR: AADSTS50158: External security challenge not satisfied. Run the command below:\naz login --tenant \
                  \"t\" --claims-challenge \"eyJhY2Nlc3NfdG9rZW4iOnt9fQ==\"\n";
    assert_eq!(
        said(&az(), claims),
        "az: AADSTS50158: External security challenge not satisfied; run `az login --tenant t --claims-challenge CLAIMS`; \
         `az account get-access-token --output json --scope https://redis.azure.com/.default` prints the CLAIMS"
    );
    let tenant = "5f1d2c3b-4a59-4687-9b7c-8d9e0f1a2b3c";
    let text = said(&Tool::Az(AzureAccount::Tenant(tenant.into())), claims);
    assert!(text.ends_with(&format!(" --tenant {tenant}` prints the CLAIMS")), "{text}");
    let by_hand =
        "; run `az account get-access-token --output json --scope https://redis.azure.com/.default`";

    for (exception, command) in [
        ("PermissionError: [Errno 13] Permission denied: '/.azure'", "AZURE_CONFIG_DIR=FOLDER az login"),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/proc/x'",
            "AZURE_CONFIG_DIR=FOLDER az login",
        ),
        ("KeyError: 'x'", by_hand.trim_start_matches("; run `").trim_end_matches('`')),
    ] {
        for end in ["", "To check existing issues, please visit: https://github.com/Azure/azure-cli/issues\n"]
        {
            let trace = format!(
                "Traceback (most recent call last):\n  File \"/opt/az/x.py\", line 1\n    raise\n{exception}\n{end}"
            );
            assert_eq!(said(&az(), &trace), format!("az: {exception}; run `{command}`"));
        }
    }
    assert_eq!(
        said(
            &az_of_subscription(),
            "ERROR: The subscription of 'Shop (test)' doesn't exist in cloud 'AzureCloud'.\n"
        ),
        "az: The subscription of 'Shop (test)' doesn't exist in cloud 'AzureCloud'; run `az account list --all`"
    );
    assert_eq!(said(&az(), "ERROR: Connection refused\n"), format!("az: Connection refused{by_hand}"));
    assert_eq!(said(&az(), " \n"), format!("az: it ended without a word (exit status: 1){by_hand}"));
    let killed = ended(&az(), ExitStatus::from_raw(9), "");
    assert_eq!(killed, format!("az: it ended without a word (signal: 9 (SIGKILL)){by_hand}"));
}

#[test]
fn no_secret_of_a_tool_is_shown() {
    let words = "ERROR: request failed: client_secret=a~B.c https://user:hunter2@proxy:8080\n";
    let expected = ": request failed: client_secret=<redacted> https://<redacted>@proxy:8080; run";
    for tool in [az(), Tool::Azd(None)] {
        let text = said(&tool, words);
        assert!(text.contains(expected), "{text}");
    }
    let jwt = format!("ERROR: {} eyJ{}.short-end {}", "a ".repeat(20), "x".repeat(100), "b ".repeat(35));
    assert!(!said(&az(), &jwt).contains("end"));
}

#[test]
fn the_three_formats_of_errors_of_azd_become_the_same_sentence() {
    let words = "ERROR: not logged in, run `azd auth login` to login";
    for line in [
        format!(r#"{{"type":"consoleMessage","timestamp":"2026-01-01T00:00:00Z","data":{{"message":"\n{words}\n"}}}}"#),
        format!(
            "{}\n{}",
            r#"{"type":"consoleMessage","timestamp":"2026-01-01T00:00:00Z","data":{"message":"\n"}}"#,
            r#"{"error":"fetching token: not logged in, run `azd auth login` to login"}"#,
        ),
        r#"{"error":"AuthError","message":"fetching token: not logged in","suggestion":"Run `azd auth login`."}"#.to_owned(),
        r#"{"error":{"message":"reauthentication required"}}"#.to_owned(),
        words.to_owned(),
    ] {
        assert_eq!(said(&Tool::Azd(None), &line), "azd is not signed in; run `azd auth login`", "{line}");
        assert_eq!(
            said(&Tool::Azd(Some("contoso.com".into())), &line),
            "azd is not signed in; run `azd auth login --tenant-id contoso.com`"
        );
    }
    let mfa = r#"{"error":"x","message":"AADSTS50079: You must enroll in multi-factor authentication. Trace","suggestion":"y"}"#;
    assert_eq!(
        said(&Tool::Azd(None), mfa),
        "azd: AADSTS50079: You must enroll in multi-factor authentication; run `azd auth login --scope \
         https://redis.azure.com/.default`"
    );
    let console = r#"{"type":"consoleMessage","data":{"message":"\nERROR: no project exists\n"}}"#;
    assert!(said(&Tool::Azd(None), console).starts_with("azd: no project exists; run `azd auth token "));
    let other = r#"{"error":"","message":"no project exists","suggestion":"Run `azd init`."}"#;
    assert_eq!(
        said(&Tool::Azd(None), other),
        "azd: no project exists Run `azd init`; run `azd auth token --output json --no-prompt --scope \
         https://redis.azure.com/.default`"
    );
}

#[test]
fn a_tool_that_does_not_run_is_named_with_the_command_to_run() {
    let arguments = ["account", "get-access-token"];
    let error = |error| not_run(&az_of_tenant(), &error, &arguments);
    let missing = error(CommandError::Start(io::ErrorKind::NotFound.into()));
    assert_eq!(&*missing.text, "az is not on PATH; install it, then run `az login --tenant contoso.com`");
    let slow = error(CommandError::TooSlow);
    assert_eq!(&*slow.text, "az did not answer within 60 s; run `az account get-access-token`");
    let full = error(CommandError::Start(rustix::io::Errno::AGAIN.into()));
    assert!(full.is_local && full.advice.is_none(), "{full:?}");
}

#[test]
fn tokens_expire_when_the_tools_say_so_and_otherwise_when_the_token_does() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let expiry = |token: Result<Token, &'static str>| {
        token.map(|token| token.expires_at.duration_since(now).unwrap().as_secs())
    };
    let map = |text: &str| serde_json::from_str(text).unwrap();
    // {"exp":1800000600}
    let jwt = "eyJhbGciOiJub25lIn0.eyJleHAiOjE4MDAwMDA2MDB9.c2ln";
    let az = |fields: &str| expiry(az::token(map(&format!(r#"{{"accessToken":{fields}}}"#)), now));
    assert_eq!(az(r#""t","expires_on":1800003600,"expiresOn":"2020-01-01 00:00:00.000000""#), Ok(3600));
    assert_eq!(az(&format!(r#""{jwt}","expiresOn":"2099-01-01 00:00:00.000000""#)), Ok(600));
    // Before version 2.54. It is asked for in UTC.
    assert_eq!(az(r#""t","expiresOn":"2027-01-15 09:00:00.000000""#), Ok(3600));
    assert!(az(r#""t","expiresOn":"N/A""#).is_err());
    assert!(az(r#""","expires_on":1800003600"#).is_err());
    let azd = |fields: &str| expiry(azd::token(map(&format!(r#"{{"token":{fields}}}"#)), now));
    assert_eq!(azd(r#""t","expiresOn":"2027-01-15T09:00:00Z""#), Ok(3600));
    assert_eq!(azd(r#""t","expiresOn":"2027-01-15T04:00:00-05:00""#), Ok(3600));
    assert_eq!(azd(&format!(r#""{jwt}""#)), Ok(600));
    assert!(azd("5").is_err());
}
