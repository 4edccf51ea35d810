//! Runs the built binary with a clean environment, reads its output, requests its pages and sends signals.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::scrape::Scrape;

/// Far longer than any step takes.
const LONG: Duration = Duration::from_secs(40);
/// The pause between checks of a condition.
const LOOK: Duration = Duration::from_millis(20);

/// Waits for `happens`; `what` describes it in the failure.
pub(crate) async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    timeout(LONG, happens).await.unwrap_or_else(|_| panic!("not within {LONG:?}: {what}"))
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    within(what, async {
        while !condition() {
            sleep(LOOK).await;
        }
    })
    .await;
}

/// Returns `cachepulse` with `arguments` and no variables except a PATH for shells.
pub(crate) fn cachepulse<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Program {
    program(BINARY, arguments)
}

/// The built binary.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_cachepulse");

/// Returns any `executable`, such as a shell around [`BINARY`].
pub(crate) fn program<A: AsRef<OsStr>>(executable: &str, arguments: impl IntoIterator<Item = A>) -> Program {
    let mut command = Command::new(executable);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Program(command)
}

/// A command line to run.
pub(crate) struct Program(Command);

impl Program {
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.0.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Sets the standard output.
    #[allow(dead_code, reason = "for the tests without a cache")]
    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.0.stdout(stdout);
        self
    }

    /// Sets the standard error.
    #[allow(dead_code, reason = "for the tests without a cache")]
    pub(crate) fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.0.stderr(stderr);
        self
    }

    /// Sets the standard input.
    #[allow(dead_code, reason = "for the tests without a cache")]
    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.0.stdin(stdin);
        self
    }

    /// Runs it to its end.
    pub(crate) async fn run(self) -> Ended {
        self.spawn().ended().await
    }

    /// Starts the daemon and waits until it serves.
    pub(crate) async fn serve(self) -> Running {
        self.until_logged("agent started").await
    }

    /// Starts a daemon without a valid configuration, and waits until it waits for one.
    pub(crate) async fn wait(self) -> Running {
        self.until_logged("agent waiting").await
    }

    async fn until_logged(self, message: &str) -> Running {
        let mut running = self.spawn();
        within(message, async {
            while !running.log().contains(message) {
                assert_eq!(running.child.try_wait().unwrap(), None, "it ended:\n{}", running.log());
                sleep(LOOK).await;
            }
        })
        .await;
        running
    }

    /// Starts it.
    pub(crate) fn spawn(mut self) -> Running {
        let mut child = self.0.spawn().unwrap();
        let stdout = match child.stdout.take() {
            Some(pipe) => Captured::new(pipe),
            None => Captured::new(tokio::io::empty()),
        };
        let stderr = match child.stderr.take() {
            Some(pipe) => Captured::new(pipe),
            None => Captured::new(tokio::io::empty()),
        };
        Running { child, stdout, stderr }
    }
}

/// The bytes that were read from a pipe so far.
struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    end: JoinHandle<()>,
}

impl Captured {
    fn new(mut pipe: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&bytes);
        let end = tokio::spawn(async move {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut piece).await {
                written.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        Self { bytes, end }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }
}

/// A process. It is killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Captured,
    stderr: Captured,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Whether it left a core dump.
    pub(crate) core_dumped: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Whether it completed its shutdown and logged that last.
    pub(crate) fn is_graceful(&self) -> bool {
        let mut last = self.stderr.trim_end().rsplit('\n');
        let mut is = |message| last.next().is_some_and(|line| line.contains(message));
        self.code == Some(0) && is("msg=\"shutdown completed\"") && is("msg=\"shutdown started\"")
    }
}

/// The resident memory of a process, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    /// The maximum so far.
    pub(crate) peak: u64,
}

/// The response to a request.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Running {
    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.text()
    }

    /// Returns the output so far.
    pub(crate) fn printed(&self) -> String {
        self.stdout.text()
    }

    /// Waits until it has logged `text`.
    pub(crate) async fn logs(&self, text: &str) {
        eventually(&format!("it logs {text:?}"), || self.log().contains(text)).await;
    }

    /// Returns the address of the HTTP endpoint, from the log.
    pub(crate) fn addr(&self) -> SocketAddr {
        let log = self.log();
        let started = log.rsplit_once("agent started").or_else(|| log.rsplit_once("agent waiting"));
        let rest = started.and_then(|(_, rest)| rest.split_once("listen"));
        let (_, rest) = rest.unwrap_or_else(|| panic!("it has not started:\n{log}"));
        let addr = rest.trim_start_matches(['"', ':', '=']).split([' ', '"', '\n']).next();
        addr.unwrap().parse().unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        self.get_at(self.addr(), path).await
    }

    /// Requests a path of the endpoint at `addr`.
    pub(crate) async fn get_at(&self, addr: SocketAddr, path: &str) -> Page {
        self.request(addr, "GET", path, "").await
    }

    /// Requests a path with further `headers`, each with its line break.
    #[allow(dead_code, reason = "for the tests with a cache")]
    pub(crate) async fn get_with(&self, path: &str, headers: &str) -> Page {
        self.request(self.addr(), "GET", path, headers).await
    }

    /// Requests a reload, and returns the response with the result.
    pub(crate) async fn post_reload(&self) -> Page {
        self.post_reload_with("").await
    }

    /// Likewise with further `headers`.
    pub(crate) async fn post_reload_with(&self, headers: &str) -> Page {
        self.request(self.addr(), "POST", "/-/reload", headers).await
    }

    async fn request(&self, addr: SocketAddr, method: &str, path: &str, headers: &str) -> Page {
        // HTTP 1.0 has no chunks, so everything after the header is the body.
        let request = format!("{method} {path} HTTP/1.0\r\nHost: agent\r\n{headers}\r\n");
        let response = within("it responds", async {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).await.unwrap();
            response
        })
        .await;
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        Page { code, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) async fn scrape(&self) -> Scrape {
        let page = self.get("/metrics").await;
        assert_eq!(page.code, 200);
        Scrape::new(page.body)
    }

    pub(crate) async fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.get("/status").await.body).unwrap()
    }

    /// Returns the text of every page, also of those about one target.
    #[allow(dead_code, reason = "for the tests with a cache")]
    pub(crate) async fn every_page(&self) -> String {
        let mut paths = ["/", "/metrics", "/status", "/sd", "/readyz"].map(str::to_owned).to_vec();
        for target in self.status().await["targets"].as_array().unwrap() {
            let name = utf8_percent_encode(target["target"].as_str().unwrap(), NON_ALPHANUMERIC);
            paths.extend([format!("/targets/{name}"), format!("/probe?target={name}&debug=true")]);
        }
        let mut pages = String::new();
        for path in paths {
            pages += &self.get(&path).await.body;
        }
        pages
    }

    /// Scrapes until `condition` holds, and returns that scrape.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Scrape) -> bool) -> Scrape {
        let mut last = None;
        let found = timeout(LONG, async {
            loop {
                let scrape = last.insert(self.scrape().await);
                if condition(scrape) {
                    return;
                }
                sleep(LOOK).await;
            }
        });
        let in_time = found.await.is_ok();
        let last = last.unwrap_or_else(|| panic!("not within {LONG:?}: a scrape"));
        assert!(in_time, "not within {LONG:?}: {what}\n{}", last.text);
        last
    }

    /// Returns the number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.id().try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    pub(crate) fn memory(&self) -> Memory {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let number = |name: &str| {
            let field = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            field.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
        };
        Memory { now: number("VmRSS"), peak: number("VmHWM") }
    }

    /// Returns how long its threads were ready to run and waited for a processor.
    pub(crate) fn run_delay(&self) -> Duration {
        run_delay(self.id())
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = within("it ends", self.child.wait()).await.unwrap();
        // The pipes may still contain its last output.
        for end in [&mut self.stdout.end, &mut self.stderr.end] {
            within("its pipes end", end).await.unwrap();
        }
        let (code, core_dumped) = (status.code(), status.core_dumped());
        Ended { code, core_dumped, stdout: self.printed(), stderr: self.log() }
    }
}

/// Returns how long the threads of a process were ready to run and waited for a processor.
pub(crate) fn run_delay(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    // A thread may have ended meanwhile.
    let statistics = threads.filter_map(|it| std::fs::read_to_string(it.ok()?.path().join("schedstat")).ok());
    let waited = |text: String| text.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    Duration::from_nanos(statistics.map(waited).sum())
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- printed\n{}--- logged\n{}", self.printed(), self.log());
        }
    }
}
