//! `cachepulse hash-password`: from standard input, and from a terminal that is restored whatever happens.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::program::{Ended, Running, cachepulse, eventually};

const PASSWORD: &str = "correct horse";

/// Returns the line that is printed for `input`.
async fn hashed(arguments: &[&str], input: &str) -> Ended {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(input.as_bytes()).unwrap();
    drop(writer);
    cachepulse(["hash-password"]).args(arguments).stdin(reader).run().await
}

/// Asserts that a line is that of `user` with [`PASSWORD`].
fn assert_line(line: &str, user: &str, cost: u32) {
    let (name, hash) = line.trim_end().split_once(": ").unwrap();
    assert_eq!(serde_json::from_str::<String>(name).unwrap(), user);
    assert!(hash.starts_with(&format!("$2y${cost}$")), "{line}");
    assert!(bcrypt::verify(PASSWORD, hash).unwrap(), "{line}");
}

#[tokio::test]
async fn standard_input_is_one_line_with_the_password() {
    for input in [PASSWORD.to_owned(), format!("{PASSWORD}\n")] {
        let ended = hashed(&[], &input).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert_line(&ended.stdout, "prometheus", 10);
    }
    let ended = hashed(&["--username", "O'Brien \"x\" ä", "--cost", "11"], PASSWORD).await;
    assert_line(&ended.stdout, "O'Brien \"x\" ä", 11);
}

#[tokio::test]
async fn a_password_or_name_that_does_not_fit_exits_with_64() {
    for (arguments, input, words) in [
        (&[][..], "", "error: the password is empty\n"),
        (&[], "hunter2\nhunter2", "error: standard input has more than one line; give the password alone\n"),
        (&[], &*"hunter2-".repeat(10), "error: the password is longer than 72 bytes"),
        (&["--username", "a:b"], "hunter2", "a name cannot contain a colon"),
        (&["--cost", "9"], "hunter2", "9 is not in 10..=16"),
    ] {
        let ended = hashed(arguments, input).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""), "{ended:?}");
        assert!(ended.stderr.contains(words) && !ended.stderr.contains("hunter2"), "{ended:?}");
    }
}

/// The user's end of a terminal.
struct Terminal(File);

impl Terminal {
    /// Starts the command on a new terminal, and waits for its first prompt.
    async fn start() -> (Self, Running) {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let name = ptsname(&user, Vec::new()).unwrap().into_string().unwrap();
        let stdin: OwnedFd = OpenOptions::new().read(true).write(true).open(name).unwrap().into();
        // Its output goes to pipes, so that nothing but an echo reaches the terminal.
        let program = cachepulse(["hash-password"]).stdin(stdin).spawn();
        prompts(&program, "Password: ").await;
        (Self(user.into()), program)
    }

    fn types(&self, text: &str) {
        (&self.0).write_all(text.as_bytes()).unwrap();
    }

    fn is_hidden(&self) -> bool {
        !tcgetattr(&self.0).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Returns what it has shown, once the command has ended.
    fn shown(mut self) -> String {
        let mut shown = Vec::new();
        // On Linux, reading fails once the other side of the terminal is closed.
        let _ = self.0.read_to_end(&mut shown);
        String::from_utf8(shown).unwrap()
    }
}

/// Waits until `program` has shown exactly these prompts.
async fn prompts(program: &Running, prompts: &str) {
    eventually(prompts, || program.log() == prompts).await;
}

#[tokio::test]
async fn a_terminal_hides_both_passwords_and_nothing_afterwards() {
    let (terminal, program) = Terminal::start().await;
    assert!(terminal.is_hidden());
    terminal.types(&format!("{PASSWORD}\n"));
    prompts(&program, "Password: Repeat the password: ").await;
    assert!(terminal.is_hidden());
    terminal.types(&format!("{PASSWORD}\n"));
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_line(&ended.stdout, "prometheus", 10);
    assert!(!terminal.is_hidden());
    assert_eq!(terminal.shown(), "\r\n\r\n", "only the line breaks are shown");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_the_terminal_is_restored() {
    for (typed, then, words) in [
        ("hunter2\n", Some("hunter3\n"), "error: the two passwords differ\n"),
        // The end of the input.
        ("\u{4}", None, "error: the password is empty\n"),
        (&*format!("{}\n", "hunter2-".repeat(100)), None, "longer than 72 bytes"),
    ] {
        let (terminal, program) = Terminal::start().await;
        terminal.types(typed);
        if let Some(then) = then {
            prompts(&program, "Password: Repeat the password: ").await;
            terminal.types(then);
        }
        let ended = program.ended().await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64), ""), "{ended:?}");
        assert!(ended.stderr.contains(words) && !ended.stderr.contains("hunter"), "{ended:?}");
        assert!(!terminal.is_hidden());
        assert!(!terminal.shown().contains("hunter"));
    }
}

#[tokio::test]
async fn a_signal_ends_the_command_after_the_terminal_is_restored() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let (terminal, program) = Terminal::start().await;
        terminal.types("hunter2");
        program.signal(signal);
        let ended = program.ended().await;
        assert_eq!((ended.code, ended.core_dumped), (None, false), "{signal:?}: {ended:?}");
        assert!(!terminal.is_hidden(), "{signal:?}");
        assert!(!terminal.shown().contains("hunter"), "{signal:?}");
    }
}

#[tokio::test]
async fn a_stopped_command_restores_the_terminal_and_asks_again_when_it_continues() {
    let (terminal, program) = Terminal::start().await;
    terminal.types("hunter2");
    program.signal(Signal::TSTP);
    eventually("the terminal is restored", || !terminal.is_hidden()).await;
    program.signal(Signal::CONT);
    prompts(&program, "Password: Password: ").await;
    assert!(terminal.is_hidden());
    terminal.types(&format!("{PASSWORD}\n"));
    prompts(&program, "Password: Password: Repeat the password: ").await;
    terminal.types(&format!("{PASSWORD}\n"));
    let ended = program.ended().await;
    assert_line(&ended.stdout, "prometheus", 10);
}
