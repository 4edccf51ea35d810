//! Real files and scripts.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::clock::Clock;
use crate::files::Files;
use crate::identity::variables::Variables;

const LONG: Duration = Duration::from_secs(100);
const LIFETIME: Duration = Duration::from_secs(600);
const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn tokens(source: SuppliedSource) -> SuppliedTokens {
    tokens_by(source, Clock::new(|| NOW))
}

fn tokens_by(source: SuppliedSource, clock: Clock) -> SuppliedTokens {
    let platform = Platform {
        transport: crate::identity::testing::no_transport(),
        files: Files::system(),
        variables: Variables::of([]),
        clock,
    };
    SuppliedTokens::new(SuppliedToken { name: None, source, lifetime: LIFETIME }, platform)
}

/// A folder with the script `supply`.
struct Script(tempfile::TempDir);

impl Script {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("supply");
        std::fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}\n", folder.path().display())).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn tokens<const N: usize>(&self, arguments: [&str; N], timeout: Duration) -> SuppliedTokens {
        tokens(self.command(arguments, timeout))
    }

    fn command<const N: usize>(&self, arguments: [&str; N], timeout: Duration) -> SuppliedSource {
        SuppliedSource::Command(SuppliedCommand {
            program: self.0.path().join("supply").to_str().unwrap().to_owned(),
            arguments: arguments.map(str::to_owned).into(),
            timeout,
        })
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap()
    }
}

async fn fetch(script: &str) -> Result<Token, FetchError> {
    Script::new(script).tokens([], LONG).fetch().await
}

#[tokio::test]
async fn a_command_gets_its_arguments_without_a_shell_and_no_input() {
    let script = Script::new("read x && exit 1\nprintf '\"'; printf '%s|' \"$@\"; printf '\"'");
    let token = script.tokens(["$HOME", "two words", "", "*"], LONG).fetch().await.unwrap();
    assert_eq!(token.secret.expose(), "$HOME|two words||*|");
}

#[tokio::test]
async fn a_token_without_expiry_and_user_is_valid_for_the_lifetime_for_the_default_user() {
    let token = fetch("echo opaque").await.unwrap();
    assert_eq!((token.expires_at, token.is_expiry_assumed), (NOW + LIFETIME, true));
    assert_eq!(token.username.as_deref(), Some("default"));
    let token = fetch(r#"echo '{"token":"t","expires_in":60,"username":"probe"}'"#).await.unwrap();
    assert_eq!((token.expires_at, token.is_expiry_assumed), (NOW + Duration::from_secs(60), false));
    assert_eq!(token.username.as_deref(), Some("probe"));
    // A JWT with the claim `oid`.
    let token = fetch("echo e30.eyJvaWQiOiI3YzNhIn0.s").await.unwrap();
    assert_eq!(token.username.as_deref(), Some("7c3a"));
}

/// A clock that shows the seconds in `seconds`.
fn clock(seconds: &Arc<AtomicU64>) -> Clock {
    let seconds = Arc::clone(seconds);
    Clock::new(move || NOW + Duration::from_secs(seconds.load(Ordering::Relaxed)))
}

#[tokio::test]
async fn a_command_that_repeats_itself_does_not_prolong_its_token() {
    let script = Script::new("cat lease");
    let supply = |lease: &str| std::fs::write(script.0.path().join("lease"), lease).unwrap();
    let seconds = Arc::new(AtomicU64::new(1000));
    let tokens = tokens_by(script.command([], LONG), clock(&seconds));
    let expiry_at = async |now| {
        seconds.store(now, Ordering::Relaxed);
        let token = tokens.fetch().await.unwrap();
        token.expires_at.duration_since(NOW).unwrap().as_secs()
    };
    supply(r#"{"token":"t","expires_in":30}"#);
    assert_eq!(expiry_at(1000).await, 1030);
    assert_eq!(expiry_at(1020).await, 1030);
    assert_eq!(expiry_at(1040).await, 1030);
    // The same token with what is left of its lifetime, and with a renewed one.
    supply(r#"{"token":"t","expires_in":25}"#);
    assert_eq!(expiry_at(1050).await, 1075);
    supply(r#"{"token":"t","expires_in":20}"#);
    assert_eq!(expiry_at(1055).await, 1075);
    supply(r#"{"token":"t","expires_in":30}"#);
    assert_eq!(expiry_at(1060).await, 1090);
    // A clock that is set back.
    assert_eq!(expiry_at(500).await, 530);
}

#[tokio::test]
async fn a_lifetime_in_a_file_counts_from_when_it_was_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), r#"{"token":"t","expires_in":30}"#).unwrap();
    let written = |seconds| {
        let times = std::fs::FileTimes::new().set_modified(NOW + Duration::from_secs(seconds));
        file.as_file().set_times(times).unwrap();
    };
    let tokens = tokens_by(SuppliedSource::File(file.path().into()), clock(&Arc::new(AtomicU64::new(2000))));
    let expiry = async || {
        let token = tokens.fetch().await.unwrap();
        assert!(!token.is_expiry_assumed);
        token.expires_at.duration_since(NOW).unwrap().as_secs()
    };
    written(1000);
    assert_eq!(expiry().await, 1030);
    written(1990);
    assert_eq!(expiry().await, 2020);
    // Another machine's clock, on a network file system.
    written(5000);
    assert_eq!(expiry().await, 2030);
}

#[tokio::test]
async fn a_command_that_fails_or_prints_no_token_is_an_error_without_secrets() {
    for (script, expected) in [
        (
            "echo key=AKIAIOSFODNN7EXAMPLE2 token: ya29.a0AfH6SMBx1234567890 for orders >&2; exit 3",
            "supply failed (exit status: 3): key=<redacted> token: <redacted> for orders",
        ),
        (
            "echo 'aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' >&2; exit 1",
            "supply failed (exit status: 1): aws_secret_access_key = <redacted>",
        ),
        ("kill -9 $$", "supply failed (signal: 9 (SIGKILL)): it printed no error"),
        ("exit 0", "supply printed no token: the output is empty"),
        (
            "head -c 17408 /dev/zero | tr '\\0' x",
            "supply printed no token: the output is longer than 16384 bytes, more than Redis accepts",
        ),
        (
            "exec yes",
            "supply printed no token: the output is longer than 16384 bytes, more than Redis accepts",
        ),
    ] {
        let error = fetch(script).await.unwrap_err();
        assert_eq!(&*error.text, expected, "{script}");
        assert!(!error.is_local && error.advice == Some(ADVICE), "{error:?}");
    }
    let error = Script::new("exit 1").tokens(["s3cr3t-argument"], LONG).fetch().await.unwrap_err();
    assert!(!error.text.contains("s3cr3t"), "{error}");
    let program = "/nonexistent/supply".to_owned();
    let missing = SuppliedSource::Command(SuppliedCommand { program, arguments: Vec::new(), timeout: LONG });
    let error = tokens(missing).fetch().await.unwrap_err();
    assert_eq!(&*error.text, "supply cannot be run: No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_command_that_fails_repeats_neither_its_tokens_nor_its_arguments() {
    // The first time, it prints a token. Then it fails, and repeats everything that it knows.
    let script = Script::new(
        r#"[ -e second ] || { touch second; echo '{"token":"plainword7","expires_in":12}'; exit 0; }
           echo newtoken9
           echo "cannot renew plainword7 b64 cGxhaW53b3JkNw== got newtoken9" >&2
           echo "+ curl -u probe:$1 --data '$2' ${3#*=} --verbose-output at orders" >&2
           exit 1"#,
    );
    let arguments = ["argplain9", "two plain words", "--pass=in-an-option", "--verbose-output", "orders"];
    let tokens = script.tokens(arguments, LONG);
    assert_eq!(tokens.fetch().await.unwrap().secret.expose(), "plainword7");
    let error = tokens.fetch().await.unwrap_err();
    assert_eq!(
        &*error.text,
        "supply failed (exit status: 1): cannot renew <redacted> b64 <redacted> got <redacted> \
         + curl -u <redacted> --data '<redacted>' <redacted> --verbose-output at orders"
    );
    // Also where the text is cut: no part of the token is left.
    for before in 0..40 {
        let text = format!("{} plainword7 {}", "x ".repeat(100), "y ".repeat(480 + before));
        let script = Script::new(&format!("echo '{text}' >&2; exit 1"));
        let error = script.tokens(["plainword7"], LONG).fetch().await.unwrap_err();
        assert!(!error.text.contains("word"), "{error}");
    }
}

#[tokio::test]
async fn of_a_long_explanation_the_end_is_shown() {
    let error = fetch(
        "head -c 3000 /dev/zero | tr '\\0' ' ' >&2; echo Traceback >&2; for i in 1 2 3 4 5 6 7 8 9; do echo \
                       some line of words that is quite long and goes on for a while >&2; done; echo denied >&2; exit 1",
    );
    let error = error.await.unwrap_err();
    assert!(error.text.ends_with(" denied") && error.text.len() < 600, "{error}");
    assert!(!error.text.contains("Traceback"), "{error}");
}

#[tokio::test]
async fn a_command_is_killed_with_its_children_at_its_limit() {
    let script = Script::new("sh -c 'echo $$ > pid; sleep 1000; :'\n:");
    let error = script.tokens([], Duration::from_secs(2)).fetch().await.unwrap_err();
    assert_eq!(&*error.text, "supply printed no token within 2 s and was killed");
    let stat = format!("/proc/{}/stat", script.read("pid").trim());
    // A killed process that is not reaped yet is a zombie (Z).
    let alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let ended = async {
        while alive() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it outlived its limit");
}

#[tokio::test]
async fn a_command_never_runs_twice_at_a_time() {
    let script = Script::new("mkdir busy || exit 1\nsleep 0.2\nrmdir busy\necho token");
    let tokens = script.tokens([], LONG);
    let (first, second) = tokio::join!(tokens.fetch(), tokens.fetch());
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    assert!(tokens.runs_command(), "it is not hedged");
}

#[tokio::test]
async fn a_file_is_read_again_and_its_changes_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let supplied = tokens(SuppliedSource::File(path.clone()));
    let error = supplied.fetch().await.unwrap_err();
    let expected = format!("{} cannot be read: No such file or directory (os error 2)", path.display());
    assert_eq!(&*error.text, expected);
    let watching = tokio::spawn({
        let files = supplied.platform.files.clone();
        async move { files.run().await }
    });
    std::fs::write(&path, "first\n").unwrap();
    supplied.changed().await;
    assert_eq!(supplied.fetch().await.unwrap().secret.expose(), "first");
    std::fs::write(&path, "{}").unwrap();
    supplied.changed().await;
    let error = supplied.fetch().await.unwrap_err();
    assert!(
        error.text.starts_with(&format!("{} contains no token: the JSON has none", path.display())),
        "{error}"
    );
    assert!(!supplied.runs_command());
    watching.abort();
}

#[test]
fn the_label_names_the_program_or_file_and_no_argument() {
    let command = |name: Option<&str>| SuppliedToken {
        name: name.map(str::to_owned),
        source: SuppliedSource::Command(SuppliedCommand {
            program: "/usr/local/bin/cache-token".into(),
            arguments: vec!["orders".into()],
            timeout: LONG,
        }),
        lifetime: LIFETIME,
    };
    assert_eq!(command(None).to_string(), "token:cache-token");
    assert_eq!(command(Some("orders")).to_string(), "token:orders");
    let file = SuppliedToken { source: SuppliedSource::File("/run/token.json".into()), ..command(None) };
    assert_eq!(file.to_string(), "token:token.json");
}
