//! The command line: usage, help, version, and output that cannot be written.

use std::fs::OpenOptions;
use std::io::{Read as _, pipe};
use std::os::fd::OwnedFd;

use cachepulse::config::keys;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::port::Port;
use crate::program::{BINARY, Program, cachepulse, program};

/// A check that fails at once.
const FAILING_CHECK: [&str; 9] =
    ["check", "--host", "127.0.0.1", "--tls", "false", "--identity", "none", "--attempts", "1"];

/// Returns every command that prints a result, with its exit code.
fn printing(port: &Port) -> Vec<(Program, i32)> {
    let check = || cachepulse(FAILING_CHECK).args(["--port", &port.number.to_string()]);
    let mut programs = vec![(check(), 1), (check().args(["--output", "json"]), 1)];
    for arguments in [
        &["--help"][..],
        &["help", "run"],
        &["--version"],
        &["version"],
        &["version", "--output", "json"],
        &["metrics"],
        &["metrics", "--output", "json"],
        &["validate", "examples/smallest.yaml"],
        &["validate", "--output", "json", "examples/smallest.yaml"],
        &["schema"],
        &["completions", "bash"],
        &["man"],
        &["demo", "--steady", "--listen", "127.0.0.1:0", "--redis-port", "0", "--identity-port", "0"],
    ] {
        programs.push((cachepulse(arguments), 0));
    }
    programs
}

#[tokio::test]
async fn output_that_cannot_be_written_is_an_error() {
    let nobody = Port::reserve();
    for (program, _) in printing(&nobody) {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = program.stdout(full).run().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let message = "error: cannot write to standard output: No space left on device (os error 28)\n";
        assert!(ended.stderr.ends_with(message), "{ended:?}");
    }
}

#[tokio::test]
async fn a_closed_pipe_is_no_error_and_does_not_change_the_exit_code() {
    let nobody = Port::reserve();
    for (program, code) in printing(&nobody) {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let ended = program.stdout(writer).run().await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(!ended.stderr.contains("standard output") && !ended.stderr.contains("panic"), "{ended:?}");
    }
}

/// Returns the output of `program` on a terminal.
async fn on_a_terminal(program: Program) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let other_end: OwnedFd = OpenOptions::new().read(true).write(true).open(name).unwrap().into();
    let ended = program.stdout(other_end).run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let mut shown = Vec::new();
    // On Linux, reading fails once the other side of the terminal is closed.
    let _ = std::fs::File::from(terminal).read_to_end(&mut shown);
    String::from_utf8(shown).unwrap()
}

#[tokio::test]
async fn output_is_coloured_only_on_terminals_without_no_color() {
    const RED: &str = "\u{1b}[1;31mFAILED\u{1b}[0m after ";
    let nobody = Port::reserve();
    let check = || cachepulse(FAILING_CHECK).args(["--port", &nobody.number.to_string()]);
    assert!(on_a_terminal(check()).await.contains(RED));
    assert!(
        on_a_terminal(check().env("NO_COLOR", "")).await.contains(RED),
        "an empty variable counts as absent"
    );
    for (variable, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let shown = on_a_terminal(check().env(variable, value)).await;
        assert!(shown.contains("  FAILED after ") && !shown.contains('\u{1b}'), "{variable}: {shown:?}");
    }
    let piped = check().run().await;
    assert!(piped.stdout.contains("  FAILED after ") && !piped.stdout.contains('\u{1b}'), "{piped:?}");
}

#[tokio::test]
async fn version_names_the_build_as_text_and_json() {
    let text = cachepulse(["version"]).run().await;
    let lines: Vec<&str> = text.stdout.lines().collect();
    assert_eq!(lines[0], concat!("cachepulse ", env!("CARGO_PKG_VERSION")));
    let json = cachepulse(["version", "--output", "json"]).run().await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert!(json["target"].as_str().unwrap().contains("-linux-"), "{json}");
    assert_eq!(json["features"], serde_json::json!(["demo"]));
    let rustc = json["rustc"].as_str().unwrap();
    assert!(rustc.starts_with("1."), "{rustc}");
    for field in ["revision", "rustc", "target"] {
        let line = format!("{field}: {}", json[field].as_str().unwrap());
        assert!(lines.contains(&line.as_str()), "{line}: {text:?}");
    }
    let repository = std::path::Path::new(".git").exists();
    let git = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output();
    let commit = git.ok().filter(|git| repository && git.status.success());
    let commit = commit.map(|git| String::from_utf8(git.stdout).unwrap().trim_end().to_owned());
    let given = std::env::var("CACHEPULSE_REVISION").ok();
    assert_eq!(json["revision"], given.or(commit).unwrap_or_else(|| "unknown".to_owned()));
    let short = cachepulse(["--version"]).run().await;
    assert_eq!(short.stdout.trim_end(), lines[0]);
}

#[tokio::test]
async fn both_forms_of_help_describe_each_command() {
    let overview = cachepulse(["help"]).run().await;
    assert_eq!(overview.code, Some(0), "{overview:?}");
    for command in cachepulse::cli::command().get_subcommands().map(clap::Command::get_name) {
        assert!(overview.stdout.contains(&format!("\n  {command} ")), "{command}: {overview:?}");
        let help = cachepulse(["help", command]).run().await;
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""), "{command}");
        if command != "help" {
            assert!(help.stdout.contains(&format!("Usage: cachepulse {command}")), "{command}: {help:?}");
            assert_eq!(help.stdout, cachepulse([command, "--help"]).run().await.stdout);
        }
    }
}

/// Returns the flags that `help` lists, except for help and version.
fn flags(help: &str) -> Vec<&str> {
    let words = help.lines().filter_map(|line| line.split_whitespace().next());
    words.filter(|word| word.starts_with("--") && *word != "--help").collect()
}

#[tokio::test]
async fn short_help_fits_a_screen_and_long_help_lists_every_flag() {
    for command in cachepulse::cli::command().get_subcommands().map(clap::Command::get_name) {
        let short = cachepulse([command, "-h"]).run().await.stdout;
        assert!(short.lines().count() <= 30, "{command}: {short}");
        assert!(short.lines().all(|line| line.chars().count() <= 100), "{command}: {short}");
        let long = cachepulse([command, "--help"]).run().await.stdout;
        let all = flags(&long);
        assert!(flags(&short).iter().all(|flag| all.contains(flag)), "{command}: {long}");
    }
    for (command, number) in [("run", 15), ("check", 16)] {
        assert_eq!(flags(&cachepulse([command, "-h"]).run().await.stdout).len(), number, "{command}");
    }
    let long = cachepulse(["run", "--help"]).run().await.stdout;
    for key in keys::all() {
        let Some(flag) = key.about().flag else { continue };
        assert!(flags(&long).contains(&flag.to_string().as_str()), "{flag}: {long}");
        assert!(long.contains(&format!("[env: {}]\n", flag.variable())), "{flag}: {long}");
    }
    for group in ["Connection", "Identity", "Probe", "Agent"] {
        assert!(long.contains(&format!("\n{group}:\n")), "{group}: {long}");
    }
}

#[tokio::test]
async fn without_a_target_run_and_check_name_both_ways_to_configure_one() {
    for command in ["run", "check"] {
        let ended = cachepulse([command]).env("CACHEPULSE_LISTEN", ":9860").run().await;
        assert_eq!(ended.code, Some(64));
        assert_eq!(
            ended.stderr,
            "error: no cache to probe; set a configuration file with --config FILE (CACHEPULSE_CONFIG), or one \
             cache with --host HOST (CACHEPULSE_HOST)\n"
        );
    }
}

#[tokio::test]
async fn wrong_usage_and_invalid_configuration_exit_with_64_and_a_reason() {
    for (arguments, words) in [
        (&["check"][..], "--host"),
        (&["check", "--host", "two words"], "--host: expected a host name"),
        (&["check", "--host", "orders", "--interval", "0s"], "--interval: expected a duration"),
        (&["check", "--host", "orders", "--colour", "blue"], "unexpected argument '--colour'"),
        (&["check", "--host", "orders", "--output", "xml"], "invalid value 'xml' for '--output"),
        (&["check", "--host", "orders", "--target", "orders"], "give the file with --config"),
        (&["check", "--target", "orders"], "give the file with --config"),
        (&["run", "orders.yaml"], "tip: give a configuration file with '--config orders.yaml'"),
        (&["check", "orders.example"], "tip: give a cache with '--host orders.example'"),
        (&["hash-password", "hunter2"], "tip: the password is read from the terminal or from standard input"),
        (&["check", "--config", "/nonexistent", "--host", "orders"], "--host: not allowed with --config"),
        (
            &["check", "--config", "/nonexistent"],
            "the configuration file /nonexistent cannot be read: No such file",
        ),
        (&["check", "--host", "localhost", "--ca-file", "/nonexistent"], "--ca-file: "),
        (
            &["check", "--host", "localhost", "--cert-file", "examples/client.pem"],
            "--cert-file: --key-file is missing; give both, or neither",
        ),
        (&["run"], "--host"),
        (&["healthcheck", "--listen", "here"], "invalid value 'here' for '--listen"),
        (&["validate"], "nothing to validate; give configuration files"),
        (&["frobnicate"], "unrecognized subcommand 'frobnicate'"),
        (&[], "Usage: cachepulse"),
    ] {
        let ended = cachepulse(arguments).run().await;
        assert_eq!(ended.code, Some(64), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{arguments:?}: {ended:?}");
        assert!(arguments.is_empty() || ended.stderr.starts_with("error: "), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
}

#[tokio::test]
async fn a_cache_is_suggested_only_to_commands_that_probe_one() {
    for command in ["healthcheck", "hash-password", "metrics"] {
        let ended = cachepulse([command, "orders"]).run().await;
        assert!(!ended.stderr.contains("--host"), "{command}: {ended:?}");
    }
}

#[tokio::test]
async fn a_demo_without_a_folder_for_its_files_names_the_folder() {
    let demo = cachepulse(["demo", "--listen", "127.0.0.1:0", "--redis-port", "0", "--identity-port", "0"]);
    let ended = demo.env("TMPDIR", "/nonexistent").run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("error: cannot create /nonexistent/cachepulse-demo-"), "{ended:?}");
}

#[tokio::test]
async fn completions_contain_flags_and_their_values() {
    for (shell, words) in [
        ("bash", "--identity"),
        ("bash", "auto managed_identity workload_identity"),
        ("zsh", ":TYPE:(auto managed_identity workload_identity"),
        ("fish", "-l identity"),
        ("bash", "true false"),
        (
            "fish",
            "-l tls -d 'Whether the connection is encrypted [default: true]' -r -f -a \"true\\t''\nfalse\\t''\"",
        ),
    ] {
        let script = cachepulse(["completions", shell]).run().await;
        assert_eq!(script.code, Some(0), "{script:?}");
        assert!(script.stdout.contains(words), "{shell}: {words}");
    }
    assert_eq!(cachepulse(["completions", "tcsh"]).run().await.code, Some(64));
}

#[tokio::test]
async fn a_password_in_an_argument_is_not_repeated() {
    for arguments in [
        &["check", "rediss://probe:hunter2@localhost:6380"][..],
        &["run", "--host", "localhost", "localhost:6380,password=hunter2,ssl=True"],
        &["check", "--listen=rediss://probe:hunter2@localhost:6380"],
        &["healthcheck", "--listen=rediss://probe:hunter2@localhost:6380"],
        &["validate", "rediss://probe:hunter2@localhost:6380"],
        &["hash-password", "hunter2"],
        &["hash-password", "--username", "a", "hunter2"],
        &["check", "--config", "rediss://probe:hunter2@localhost:6380"],
        &["check", "--host", "a,rediss://probe:hunter2@localhost:6380"],
        &["check", "--name", "rediss://probe:hunter2@localhost:6380", "--host", "rediss://:hunter2@a"],
    ] {
        let ended = cachepulse(arguments).run().await;
        assert_eq!(ended.code, Some(64), "{ended:?}");
        assert!(!ended.stderr.contains("hunter2") && !ended.stdout.contains("hunter2"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_check_does_not_need_the_files_of_the_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let target = "{name: a, host: 127.0.0.1, port: 1, tls: false, identity: none, attempts: 1}";
    std::fs::write(&file, format!("http: {{web_config_file: /nonexistent}}\ntargets: [{target}]\n")).unwrap();
    let by_file = || cachepulse(["check".as_ref(), "--config".as_ref(), file.as_os_str()]);
    let by_flags = cachepulse(FAILING_CHECK).args(["--port", "1"]);
    let variable = "CACHEPULSE_WEB_CONFIG_FILE";
    for check in [by_file(), by_file().env(variable, "/nonexistent"), by_flags.env(variable, "/nonexistent")]
    {
        let ended = check.run().await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""), "it probed: {ended:?}");
    }
}

#[tokio::test]
async fn an_empty_variable_names_no_file() {
    let ended = cachepulse(FAILING_CHECK).args(["--port", "1"]).env("CACHEPULSE_CONFIG", "").run().await;
    assert_eq!(ended.code, Some(1), "it probed: {ended:?}");
}

#[tokio::test]
async fn too_few_file_descriptors_to_start_are_an_error() {
    for command in ["run", "check"] {
        let agent =
            format!("ulimit -n 8; exec {BINARY} {command} --host 127.0.0.1 --tls false --identity none");
        let ended = program("/bin/sh", ["-c", &agent]).env("CACHEPULSE_LISTEN", "127.0.0.1:0").run().await;
        assert_eq!(ended.code, Some(1), "{command}: {ended:?}");
        assert!(ended.stderr.contains("too few file descriptors"), "{command}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{command}: {}", ended.stderr);
    }
}
