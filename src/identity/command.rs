//! Runs a program that prints a token, such as `az`. The program and its children do not outlive the request.
//!
//! Knows nothing about what programs print.

use std::ffi::OsStr;
use std::io;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;
use tokio::time::timeout;

use crate::error::is_local;
use crate::os::children::{self, Group};

/// The longest output, in bytes. A token has a few thousand.
pub(super) const OUTPUT_LIMIT: usize = 64 * 1024;

/// How long the end of the output is waited for after the program has ended. A child of it may keep the pipe open.
const DRAIN: Duration = Duration::from_millis(500);

/// A program, its arguments, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command<'a> {
    /// A path, or a name on `PATH`.
    pub(super) program: &'a OsStr,
    /// The arguments. No shell interprets them.
    pub(super) arguments: &'a [&'a OsStr],
    /// Variables besides those of this process.
    pub(super) variables: &'a [(&'a str, &'a str)],
    /// The time after which the program and its children are killed.
    pub(super) limit: Duration,
}

/// What a program printed, and how it ended.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    /// The end of what it printed as errors, at most [`OUTPUT_LIMIT`] bytes.
    pub(super) stderr: String,
}

/// Why a program has no result.
#[derive(Debug)]
pub(super) enum CommandError {
    /// It cannot be started.
    Start(io::Error),
    /// It was killed at its limit.
    TooSlow,
    /// It printed more than [`OUTPUT_LIMIT`] bytes.
    TooLong,
}

impl CommandError {
    /// Whether the agent's own limits are the cause.
    pub(super) fn is_local(&self) -> bool {
        // EAGAIN: there are too many processes.
        matches!(self, Self::Start(error) if is_local(error) || error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Output {
    /// Whether the program, a shell script, says that it cannot start another one: dash, and bash.
    pub(super) fn is_short_of_processes(&self) -> bool {
        !self.status.success() && cannot_fork(&self.stderr)
    }
}

fn cannot_fork(words: &str) -> bool {
    let lacks = |what| words.contains("fork: ") && words.contains(what);
    words.contains("Cannot fork")
        || lacks("Resource temporarily unavailable")
        || lacks("Cannot allocate memory")
}

impl Command<'_> {
    /// Runs the program in its own process group, with no input. Kills the group when the program has ended, at the
    /// limit, and when the future is dropped.
    pub(super) async fn run(&self) -> Result<Output, CommandError> {
        let mut child = children::command(self.program)
            .args(self.arguments)
            .envs(self.variables.iter().copied())
            // A relative folder in PATH means nothing to an agent.
            .current_dir("/")
            // A program that prompts gets an end of file.
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(CommandError::Start)?;
        // Declared after the child, so dropped first: the group's id is not reused before the child is reaped.
        let group = Group::of(&child);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let ended = timeout(self.limit, ended(&mut child, &mut stdout, &mut stderr)).await;
        ended.map_err(|_| CommandError::TooSlow)?.map_err(CommandError::Start)?;
        group.end();
        if stdout.len() > OUTPUT_LIMIT {
            return Err(CommandError::TooLong);
        }
        let status = child.wait().await.map_err(CommandError::Start)?;
        Ok(Output { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
    }
}

/// Waits until `child` has ended, but does not reap it, and collects what it prints.
async fn ended(child: &mut Child, stdout: &mut Vec<u8>, stderr: &mut Vec<u8>) -> io::Result<()> {
    let (out, errors) = (child.stdout.take(), child.stderr.take());
    let mut reading = pin!(async {
        tokio::join!(
            async {
                if let Some(out) = out {
                    // What cannot be read has ended.
                    let _ = out.take(OUTPUT_LIMIT as u64 + 1).read_to_end(stdout).await;
                }
            },
            async {
                if let Some(errors) = errors {
                    read_end(errors, stderr).await;
                }
            },
        )
    });
    let mut ending = pin!(children::ended(child));
    tokio::select! {
        ended = &mut ending => {
            let _ = timeout(DRAIN, reading).await;
            ended
        }
        _ = &mut reading => ending.await,
    }
}

/// Reads everything and keeps the end.
async fn read_end(mut from: impl AsyncRead + Unpin, end: &mut Vec<u8>) {
    while let Ok(1..) = from.read_buf(end).await {
        end.drain(..end.len().saturating_sub(OUTPUT_LIMIT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, limit: Duration) -> Result<Output, CommandError> {
        let arguments = ["-c", script].map(OsStr::new);
        let program = OsStr::new("/bin/sh");
        Command { program, arguments: &arguments, variables: &[("WORD", "w")], limit }.run().await
    }

    const LONG: Duration = Duration::from_secs(100);

    #[tokio::test]
    async fn the_output_and_the_exit_code_are_returned() {
        let output = shell("echo out $WORD; pwd; read x || echo err >&2; exit 3", LONG).await.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!((&*output.stdout, &*output.stderr), (&b"out w\n/\n"[..], "err\n"));
    }

    #[tokio::test]
    async fn a_child_that_keeps_the_pipe_open_is_not_waited_for() {
        let output = shell("sleep 200 & echo out; exit 0", LONG).await.unwrap();
        assert_eq!(output.stdout, b"out\n");
    }

    #[tokio::test]
    async fn output_without_an_end_is_refused_and_of_errors_only_the_end_is_kept() {
        let endless = shell("exec yes", LONG).await;
        assert!(matches!(endless, Err(CommandError::TooLong)), "{endless:?}");
        let script = "head -c 200000 /dev/zero | tr '\\0' x >&2; echo end >&2";
        let output = shell(script, LONG).await.unwrap();
        assert!(output.stderr.len() <= OUTPUT_LIMIT && output.stderr.ends_with("xend\n"));
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_not_blamed_on_the_agents_limits() {
        let program = OsStr::new("no-such-program");
        let error = Command { program, arguments: &[], variables: &[], limit: LONG }.run().await.unwrap_err();
        assert!(matches!(&error, CommandError::Start(error) if error.kind() == io::ErrorKind::NotFound));
        assert!(!error.is_local());
    }

    #[test]
    fn a_shell_without_processes_says_so_in_its_own_words() {
        for words in [
            "/bin/sh: 1: Cannot fork",
            "/bin/sh: fork: retry: Resource temporarily unavailable",
            "bash: fork: Cannot allocate memory",
        ] {
            assert!(cannot_fork(words), "{words}");
        }
        for words in ["ERROR: Please run 'az login'", "sh: 1: az: not found", "fork: the wrong cutlery"] {
            assert!(!cannot_fork(words), "{words}");
        }
    }

    #[tokio::test]
    async fn a_program_ends_at_its_limit() {
        let ended = shell("sleep 1000; :", Duration::from_millis(200)).await;
        assert!(matches!(ended, Err(CommandError::TooSlow)), "{ended:?}");
    }

    /// Waits until the process `id` has ended.
    async fn ends(id: &str) {
        let stat = format!("/proc/{id}/stat");
        // A killed process that is not reaped yet is a zombie (Z).
        let alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let ended = async {
            while alive() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(20), ended).await.expect("it outlived its request");
    }

    #[tokio::test]
    async fn the_children_of_a_program_that_has_ended_are_killed() {
        for end in ["", "exit 1", "kill -9 $$"] {
            let script = format!("sleep 1000 >/dev/null 2>&1 & echo $!; {end}");
            let output = shell(&script, LONG).await.unwrap();
            ends(std::str::from_utf8(&output.stdout).unwrap().trim()).await;
        }
    }

    #[tokio::test]
    async fn dropping_the_future_kills_the_programs_children() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "cd {} && sh -c 'echo $$ > pid.new; mv pid.new pid; sleep 1000; :'; :",
            folder.path().display()
        );
        let started = async {
            loop {
                if let Ok(pid) = std::fs::read_to_string(folder.path().join("pid")) {
                    break pid.trim().to_owned();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let grandchild = tokio::select! {
            output = shell(&script, LONG) => panic!("it ended: {output:?}"),
            pid = started => pid,
        };
        ends(&grandchild).await;
    }
}
