//! Runs `az` and `azd` as child processes that do not outlive the request.

use std::ffi::OsStr;
use std::io;
use std::process::{Output, Stdio};
use std::sync::Arc;

use azure_identity::Executor;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use super::exchange::Exchange;
use crate::error::is_local;

/// Runs a command in its own process group and kills the group when the future is dropped. The command is a shell; the
/// tool that may hang is its child.
#[derive(Debug)]
pub(super) struct GroupExecutor {
    exchange: Arc<Exchange>,
}

impl GroupExecutor {
    /// Creates an executor that tells `exchange` if a command cannot be started for lack of resources.
    pub(super) const fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange }
    }
}

#[async_trait::async_trait]
impl Executor for GroupExecutor {
    async fn run(&self, program: &OsStr, args: &[&OsStr]) -> io::Result<Output> {
        let ran = run(program, args).await;
        let is_short = match &ran {
            // EAGAIN: there are too many processes.
            Err(error) => is_local(error) || error.kind() == io::ErrorKind::WouldBlock,
            Ok(output) => !output.status.success() && cannot_fork(&String::from_utf8_lossy(&output.stderr)),
        };
        if is_short {
            self.exchange.meet_local_limit();
        }
        ran
    }
}

/// Whether a shell says that it could not start a command: dash, and bash.
fn cannot_fork(words: &str) -> bool {
    let lacks = |what| words.contains("fork: ") && words.contains(what);
    words.contains("Cannot fork")
        || lacks("Resource temporarily unavailable")
        || lacks("Cannot allocate memory")
}

async fn run(program: &OsStr, args: &[&OsStr]) -> io::Result<Output> {
    let child = Command::new(program)
        .args(args)
        // A tool that prompts gets an end of file.
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let output = std::pin::pin!(child.wait_with_output());
    // Declared after the child, so dropped first: the group's id is not reused before the child is reaped.
    let mut group = Group(leader);
    let output = output.await;
    group.0 = None;
    output
}

struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Fails only if the group has already ended.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn shell(script: &str) -> [&OsStr; 2] {
        ["-c", script].map(OsStr::new)
    }

    #[tokio::test]
    async fn the_output_and_the_exit_code_are_returned() {
        let args = shell("echo out; echo err >&2; exit 3");
        let output = run(OsStr::new("/bin/sh"), &args).await.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
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
    async fn dropping_the_future_kills_the_commands_children() {
        let directory = tempfile::tempdir().unwrap();
        let script = format!(
            "cd {} && sh -c 'echo $$ > pid.new; mv pid.new pid; sleep 1000; :'; :",
            directory.path().display()
        );
        let args = shell(&script);
        let running = run(OsStr::new("/bin/sh"), &args);
        let started = async {
            loop {
                if let Ok(pid) = std::fs::read_to_string(directory.path().join("pid")) {
                    break Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let grandchild = tokio::select! {
            output = running => panic!("it ended: {output:?}"),
            pid = started => pid,
        };
        // A killed process that is not reaped yet is a zombie (Z).
        let stat = format!("/proc/{}/stat", grandchild.as_raw_nonzero());
        let alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let ended = async {
            while alive() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it outlived its request");
    }
}
